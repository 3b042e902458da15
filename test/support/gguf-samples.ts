// Small GGUF files, well-formed, made by the writer that shares nothing with the reader under test.

import {
  type ElementType,
  type Entry,
  elementTypes,
  ggufBytes,
  type Header,
  type TensorInfo,
  tensorBytes,
} from '../../bench/gguf-writer.js'
import { randomBlocks } from '../../bench/random-blocks.js'

/** One entry of every value type, arrays included. */
export const everyEntry: readonly Entry[] = [
  { key: 'general.architecture', value: { type: 'string', value: 'llama' } },
  { key: 'general.name', value: { type: 'string', value: 'größer als 字' } },
  { key: 'a.u8', value: { type: 'u8', value: 255 } },
  { key: 'a.i8', value: { type: 'i8', value: -128 } },
  { key: 'a.u16', value: { type: 'u16', value: 65535 } },
  { key: 'a.i16', value: { type: 'i16', value: -32768 } },
  { key: 'a.u32', value: { type: 'u32', value: 4294967295 } },
  { key: 'a.i32', value: { type: 'i32', value: -2147483648 } },
  { key: 'a.u64', value: { type: 'u64', value: 2n ** 64n - 1n } },
  { key: 'a.i64', value: { type: 'i64', value: -(2n ** 63n) } },
  { key: 'a.f32', value: { type: 'f32', value: 0.5 } },
  { key: 'a.f64', value: { type: 'f64', value: 1e300 } },
  { key: 'a.true', value: { type: 'bool', value: true } },
  { key: 'a.false', value: { type: 'bool', value: false } },
  { key: 'a.empty', value: { type: 'string', value: '' } },
  { key: 'a.bytes', value: { type: 'string', value: Buffer.from([0xff, 0, 0xfe]) } },
  { key: 'l.strings', value: { type: 'array', of: 'string', values: ['one', '', 'three'] } },
  { key: 'l.i32', value: { type: 'array', of: 'i32', values: [-1, 0, 1] } },
  { key: 'l.u64', value: { type: 'array', of: 'u64', values: [1n, 2n] } },
  { key: 'l.f32', value: { type: 'array', of: 'f32', values: [0.5, -0.25] } },
  { key: 'l.bool', value: { type: 'array', of: 'bool', values: [true, false, true] } },
  { key: 'l.none', value: { type: 'array', of: 'u8', values: [] } },
]

/** A tensor of every element type, two rows each, one of them with four dimensions. */
export const everyTensor: readonly TensorInfo[] = (Object.keys(elementTypes) as ElementType[]).map(
  (type) => ({
    name: `blk.0.${type}.weight`,
    type,
    shape: type === 'F32' ? [2, 1, 2, 1] : [elementTypes[type].values, 2],
  }),
)

export const everyHeader: Header = { entries: everyEntry, tensors: everyTensor }

export const sampleData = (tensors: readonly TensorInfo[]): Buffer[] =>
  tensors.map((tensor, stream) =>
    randomBlocks(tensor.type, tensorBytes(tensor), 1, { seed: 7, stream }),
  )

/** The file of a header, with random data. */
export const sampleFile = (header: Header = everyHeader): Buffer =>
  ggufBytes(header, sampleData(header.tensors))

const few = everyTensor.slice(0, 3)

/** Several small files that between them reach most of the reader. */
export const seedFiles = (): Record<string, Buffer> => ({
  every: sampleFile(),
  version2: sampleFile({ version: 2, entries: everyEntry.slice(0, 4), tensors: few }),
  aligned: sampleFile({
    alignment: 64,
    entries: [{ key: 'general.alignment', value: { type: 'u32', value: 64 } }],
    tensors: few,
  }),
  vocabulary: sampleFile({ entries: everyEntry.slice(14, 20), tensors: [] }),
  tensors: sampleFile({ entries: [], tensors: everyTensor.slice(0, 6) }),
  unknown: sampleFile({
    entries: [],
    tensors: [{ name: 'x', type: 'Q8_0', shape: [32], typeId: 16 }],
  }),
  empty: sampleFile({ entries: [], tensors: [] }),
})
