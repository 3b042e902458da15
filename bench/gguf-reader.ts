// Reads well-formed GGUF files, to carry tokenizers from one file to another and to change the
// element types of weights.
import {
  type ElementType,
  type Entry,
  elementTypes,
  type MetadataValue,
  type Scalar,
  type ScalarType,
  valueTypes,
} from './gguf-writer.js'

const typeNames = Object.keys(valueTypes) as (keyof typeof valueTypes)[]

class Cursor {
  #position = 8
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get position(): number {
    return this.#position
  }

  #advance(length: number): number {
    const start = this.#position
    this.#position += length
    return start
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4))
  }

  u64(): number {
    return Number(this.#bytes.readBigUInt64LE(this.#advance(8)))
  }

  text(): Buffer {
    const length = this.u64()
    const start = this.#advance(length)
    return this.#bytes.subarray(start, start + length)
  }

  scalar(type: ScalarType): Scalar {
    const bytes = this.#bytes
    switch (type) {
      case 'u8':
        return bytes.readUInt8(this.#advance(1))
      case 'i8':
        return bytes.readInt8(this.#advance(1))
      case 'u16':
        return bytes.readUInt16LE(this.#advance(2))
      case 'i16':
        return bytes.readInt16LE(this.#advance(2))
      case 'u32':
        return this.u32()
      case 'i32':
        return bytes.readInt32LE(this.#advance(4))
      case 'f32':
        return bytes.readFloatLE(this.#advance(4))
      case 'bool':
        return bytes.readUInt8(this.#advance(1)) !== 0
      case 'string':
        return this.text()
      case 'u64':
        return bytes.readBigUInt64LE(this.#advance(8))
      case 'i64':
        return bytes.readBigInt64LE(this.#advance(8))
      case 'f64':
        return bytes.readDoubleLE(this.#advance(8))
    }
  }

  value(): MetadataValue {
    const type = typeNames[this.u32()]
    if (type !== 'array')
      return { type: type as ScalarType, value: this.scalar(type as ScalarType) }
    const of = typeNames[this.u32()] as ScalarType
    const values = Array.from({ length: this.u64() }, () => this.scalar(of))
    return { type, of, values }
  }
}

const usualAlignment = 32 // bytes; of files that do not say theirs

const typeOfId = new Map<number, ElementType>(
  Object.entries(elementTypes).map(([name, { id }]) => [id, name as ElementType] as const),
)

export type ReadEntry = Entry & { key: string }

/** A tensor with its bytes; shapes with the fastest dimension first. */
export interface ReadTensor {
  name: string
  shape: number[]
  type: ElementType
  data: Uint8Array
}

export const valuesOf = ({ shape }: { shape: readonly number[] }): number =>
  shape.reduce((product, extent) => product * extent, 1)

function start(file: Buffer): { cursor: Cursor; tensorCount: number; entries: ReadEntry[] } {
  if (file.subarray(0, 4).toString() !== 'GGUF') throw new Error('Expected a GGUF file')
  const cursor = new Cursor(file)
  const tensorCount = cursor.u64()
  const entries = Array.from({ length: cursor.u64() }, () => ({
    key: cursor.text().toString(),
    value: cursor.value(),
  }))
  return { cursor, tensorCount, entries }
}

/** All metadata of a GGUF file in memory, version 2 or 3; texts as bytes. */
export const readEntries = (file: Buffer): ReadEntry[] => start(file).entries

/** The tensors too, whose types have to be known. */
export function readGguf(file: Buffer): { entries: ReadEntry[]; tensors: ReadTensor[] } {
  const { cursor, tensorCount, entries } = start(file)
  const found = Array.from({ length: tensorCount }, () => {
    const name = cursor.text().toString()
    const shape = Array.from({ length: cursor.u32() }, () => cursor.u64())
    const id = cursor.u32()
    const type = typeOfId.get(id)
    if (type === undefined) throw new Error(`Expected a known type of "${name}" but received ${id}`)
    return { name, shape, type, offset: cursor.u64() }
  })
  const said = entries.find(({ key }) => key === 'general.alignment')?.value
  const alignment =
    said === undefined || said.type === 'array' ? usualAlignment : Number(said.value)
  const dataStart = Math.ceil(cursor.position / alignment) * alignment
  const tensors = found.map(({ offset, ...tensor }) => {
    const { values, bytes } = elementTypes[tensor.type]
    const length = (valuesOf(tensor) / values) * bytes
    return { ...tensor, data: file.subarray(dataStart + offset, dataStart + offset + length) }
  })
  return { entries, tensors }
}
