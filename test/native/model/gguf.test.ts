import { describe, expect, test } from 'vitest'
import {
  type Entry,
  elementTypes,
  ggufBytes,
  type Header,
  headerBytes,
  type MetadataValue,
  type TensorInfo,
  tensorBytes,
  tensorOffsets,
} from '../../../bench/gguf-writer.js'
import { everyEntry, everyHeader, everyTensor, sampleFile } from '../../support/gguf-samples.js'
import { coded, reader } from '../../support/model-file.js'
import { hasShared, sharedBytes, sharedJson } from '../../support/shared.js'

const parse = (bytes: Uint8Array) => reader.parseGguf(bytes, false)
const noTensors = (entries: readonly Entry[], more: Partial<Header> = {}) =>
  ggufBytes({ entries, tensors: [], ...more })
const oneTensor = (tensor: Partial<TensorInfo>, more: Partial<Header> = {}) =>
  ggufBytes({ entries: [], tensors: [{ name: 'w', type: 'F32', shape: [8], ...tensor }], ...more })
const entry = (key: string | Uint8Array, value: MetadataValue): Entry => ({ key, value })
const u32 = (value: number): MetadataValue => ({ type: 'u32', value })

describe('a well-formed file', () => {
  const file = sampleFile()

  test('gives every metadata value with its type, in file order', () => {
    const { entries } = parse(file)
    expect(entries.map(([key]) => key)).toEqual(everyEntry.map(({ key }) => key))
    for (const [index, [, type, shown]] of entries.entries()) {
      const value = everyEntry[index]?.value as MetadataValue
      expect(type).toBe(value.type)
      if (value.type === 'array') expect(shown).toBe(value.values.length)
      else if (value.type === 'string') expect(shown).toEqual(Buffer.from(value.value as string))
      else if (typeof shown === 'bigint') expect(shown).toBe(BigInt(value.value as number))
      else expect(shown).toBe(value.value)
    }
  })

  test('gives every tensor with its type, shape, size and place', () => {
    const { tensors } = parse(file)
    const start = headerBytes(everyHeader).length
    const offsets = tensorOffsets(everyTensor)
    expect(tensors).toEqual(
      everyTensor.map((tensor, index) => ({
        name: tensor.name,
        type: tensor.type,
        shape: tensor.shape,
        size: tensorBytes(tensor),
        offset: start + (offsets[index] ?? 0),
      })),
    )
  })

  test('is read in version 2 as in version 3', () => {
    expect(parse(sampleFile({ ...everyHeader, version: 2 }))).toEqual(parse(file))
  })

  test('may state an alignment of its own', () => {
    const header: Header = {
      alignment: 256,
      entries: [entry('general.alignment', u32(256))],
      tensors: everyTensor,
    }
    const starts = parse(sampleFile(header)).tensors.map(({ offset = 1 }) => offset % 256)
    expect(starts).toEqual(everyTensor.map(() => 0))
  })

  test('may hold no tensors, and end right behind its header', () => {
    expect(parse(noTensors(everyEntry).subarray(0, -1)).tensors).toEqual([])
  })

  test('may lack the padding behind its last tensor', () => {
    expect(parse(oneTensor({ shape: [3] }).subarray(0, -20)).tensors).toHaveLength(1)
  })

  test('may list tensors in another order than they lie', () => {
    const tensors: TensorInfo[] = [
      { name: 'second', type: 'F32', shape: [8], offset: 32 },
      { name: 'first', type: 'F32', shape: [8], offset: 0 },
    ]
    expect(parse(ggufBytes({ entries: [], tensors })).tensors.map(({ name }) => name)).toEqual([
      'second',
      'first',
    ])
  })
})

describe('metadata getters', () => {
  const file = sampleFile()
  const get = (getter: string, key: string) => reader.getMetadata(file, getter, key)

  test('widen integers of every width', () => {
    expect(get('integer', 'a.u8')).toBe(255)
    expect(get('integer', 'a.i16')).toBe(-32768)
    expect(get('integer', 'a.u32')).toBe(4294967295)
    expect(get('integer', 'a.i64')).toBe(-(2 ** 63))
    expect(get('integers', 'l.i32')).toEqual([-1, 0, 1])
    expect(get('integers', 'l.u64')).toEqual([1, 2])
    expect(get('integers', 'l.bool')).toEqual([1, 0, 1])
  })

  test('accept integers and both float widths as numbers', () => {
    expect(get('number', 'a.f32')).toBe(0.5)
    expect(get('number', 'a.f64')).toBe(1e300)
    expect(get('number', 'a.i8')).toBe(-128)
    expect(get('numbers', 'l.f32')).toEqual([0.5, -0.25])
    expect(get('numbers', 'l.i32')).toEqual([-1, 0, 1])
  })

  test('keep text as the bytes it is', () => {
    expect(get('string', 'a.bytes')).toEqual(Buffer.from([0xff, 0, 0xfe]))
    expect(get('strings', 'l.strings')).toEqual(['one', '', 'three'].map((s) => Buffer.from(s)))
    expect(get('boolean', 'a.false')).toBe(false)
  })

  test('name the key, the expected and the found type when a value is of another type', () => {
    const wrong = (getter: string, key: string, ...words: string[]) =>
      expect(() => get(getter, key)).toThrow(coded('bad-file', `"${key}"`, ...words))
    wrong('integer', 'a.f32', 'an integer', 'f32')
    wrong('integer', 'a.u64', '2^63', '18446744073709551615')
    wrong('number', 'a.empty', 'a number', 'string')
    wrong('boolean', 'a.u8', 'a boolean', 'u8')
    wrong('string', 'l.strings', 'a string', 'array of string')
    wrong('integers', 'l.f32', 'an array of integers', 'array of f32')
    wrong('numbers', 'l.strings', 'an array of numbers', 'array of string')
    wrong('strings', 'l.i32', 'an array of strings', 'array of i32')
    wrong('integers', 'a.i32', 'an array of integers', 'i32')
  })

  test('name a key that is not there', () => {
    for (const getter of ['integer', 'number', 'boolean', 'string', 'integers', 'numbers']) {
      expect(() => get(getter, 'no.key')).toThrow(coded('bad-file', '"no.key"'))
    }
  })

  test('fall back for optional values that are absent or of another type', () => {
    expect(get('integerOr', 'no.key')).toBe(-7)
    expect(get('integerOr', 'a.empty')).toBe(-7)
    expect(get('integerOr', 'a.u8')).toBe(255)
    expect(get('numberOr', 'no.key')).toBe(-7.5)
    expect(get('booleanOr', 'a.false')).toBe(false)
    expect(get('stringOr', 'a.u8')).toBe('fallback')
    expect(get('stringOr', 'general.architecture')).toBe('llama')
  })
})

describe('a header that lies', () => {
  const refused = (bytes: Uint8Array, ...words: string[]) =>
    expect(() => parse(bytes)).toThrow(coded('bad-file', ...words))

  test('about its version is refused, with what is known of that version', () => {
    refused(noTensors([], { version: 1 }), 'version 1', 'convert')
    refused(noTensors([], { version: 4 }), 'found 4')
    refused(noTensors([], { version: 0x03000000 }), 'big-endian')
    refused(Buffer.from('GGUF'), 'truncated')
    refused(Buffer.from('GGUG\x03\0\0\0'), 'starts with GGUF')
  })

  test('about its counts is refused before anything is allocated for them', () => {
    refused(noTensors(everyEntry, { entryCount: 2n ** 63n }), '9223372036854775808 metadata keys')
    refused(noTensors(everyEntry, { tensorCount: 2n ** 64n - 1n }), 'tensors', 'fit')
    refused(noTensors(everyEntry, { entryCount: everyEntry.length + 1 }), 'metadata key 22')
    refused(oneTensor({}, { tensorCount: 2 }), 'tensor 1')
  })

  test('with a key that is empty, too long, not UTF-8 or has a NUL is refused', () => {
    refused(noTensors([entry('', u32(1))]), 'metadata key 0', '1 to 65535')
    refused(noTensors([entry('k'.repeat(65536), u32(1))]), 'has 65536')
    refused(noTensors([entry(Buffer.from([0xc0, 0x80]), u32(1))]), 'metadata key 0', 'UTF-8')
    refused(noTensors([entry(Buffer.from([0xed, 0xa0, 0x80]), u32(1))]), 'UTF-8')
    refused(noTensors([entry('a\0b', u32(1))]), 'NUL')
  })

  test('with a key or a tensor twice is refused by name', () => {
    refused(noTensors([entry('twice', u32(1)), entry('twice', u32(2))]), '"twice"', 'twice')
    const tensor: TensorInfo = { name: 'same', type: 'F32', shape: [1] }
    refused(ggufBytes({ entries: [], tensors: [tensor, tensor] }), 'tensor "same"', 'twice')
  })

  test('with a value type that does not exist is refused', () => {
    const bytes = noTensors([entry('k', u32(1))])
    bytes.writeUInt32LE(13, 24 + 8 + 1)
    refused(bytes, '"k"', 'found 13')
  })

  test('with a boolean other than 0 and 1 is refused', () => {
    const bytes = noTensors([entry('k', { type: 'bool', value: true })])
    bytes.writeUInt8(2, 24 + 8 + 1 + 4)
    refused(bytes, '"k"', 'boolean', 'found 2')
    const list = noTensors([entry('k', { type: 'array', of: 'bool', values: [true, true] })])
    list.writeUInt8(7, 24 + 8 + 1 + 4 + 12 + 1)
    refused(list, '"k"', 'found 7')
  })

  test('with a string longer than the file is refused', () => {
    const bytes = noTensors([entry('k', { type: 'string', value: 'abc' })])
    bytes.writeBigUInt64LE(2n ** 64n - 1n, 24 + 8 + 1 + 4)
    refused(bytes, '"k"', '18446744073709551615')
  })

  test('with an array longer than the file is refused, whatever its elements', () => {
    for (const of of ['u8', 'i16', 'f32', 'u64', 'string'] as const) {
      const bytes = noTensors([entry('k', { type: 'array', of, values: [] })])
      bytes.writeBigUInt64LE(2n ** 61n, 24 + 8 + 1 + 4 + 4)
      refused(bytes, '"k"', '2305843009213693952 elements')
    }
  })

  test('with an array of arrays is refused as unsupported, and of unknown elements as bad', () => {
    const bytes = noTensors([entry('k', { type: 'array', of: 'u8', values: [1] })])
    bytes.writeUInt32LE(9, 24 + 8 + 1 + 4)
    expect(() => parse(bytes)).toThrow(coded('unsupported', '"k"', 'array of arrays'))
    bytes.writeUInt32LE(99, 24 + 8 + 1 + 4)
    refused(bytes, '"k"', 'found 99')
  })

  test('with an alignment that is no power of two from 8 on, or no integer, is refused', () => {
    for (const alignment of [0, 1, 4, 24, 2 ** 21]) {
      refused(noTensors([entry('general.alignment', u32(alignment))]), `found ${alignment}`)
    }
    const text: MetadataValue = { type: 'string', value: '32' }
    refused(noTensors([entry('general.alignment', text)]), 'general.alignment', 'an integer')
  })
})

describe('a tensor that lies', () => {
  const refused = (bytes: Uint8Array, ...words: string[]) =>
    expect(() => parse(bytes)).toThrow(coded('bad-file', 'tensor "w"', ...words))

  test('about its dimensions is refused', () => {
    refused(oneTensor({ shape: [] }), '1 to 4 dimensions but found 0')
    refused(oneTensor({ shape: [1, 1, 1, 1, 1] }), 'found 5')
    const sized = (...shape: bigint[]) =>
      Buffer.concat([headerBytes({ entries: [], tensors: [{ name: 'w', type: 'F32', shape }] })])
    refused(sized(0n), 'has 0 as dimension 0')
    refused(sized(2n ** 63n), '9223372036854775808 as dimension 0')
    refused(sized(2n ** 32n, 2n ** 32n), 'dimension 1')
    refused(sized(2n ** 20n, 2n ** 20n, 2n ** 20n, 2n ** 20n), 'dimension 2')
    refused(sized(2n ** 50n), 'needs 4503599627370496 bytes')
  })

  test('about rows that are no whole number of blocks is refused', () => {
    refused(oneTensor({ type: 'Q4_0', shape: [48, 2] }), 'multiple of 32', 'found 48')
    refused(oneTensor({ type: 'Q6_K', shape: [32, 8] }), 'Q6_K', 'multiple of 256')
  })

  test('about its offset is refused', () => {
    refused(oneTensor({ offset: 8 }), 'multiple of 32 but found 8')
    refused(oneTensor({ offset: 32 }), '32 bytes at offset 32')
    refused(oneTensor({ offset: 2n ** 64n - 32n }), 'at offset 18446744073709551584')
  })

  test('by a file that ends before its data is refused', () => {
    refused(oneTensor({}).subarray(0, -1), 'truncated')
    refused(
      headerBytes({ entries: [], tensors: [{ name: 'w', type: 'F32', shape: [8] }] }),
      'only 0',
    )
  })

  test('by lying where another tensor lies is refused with both names', () => {
    const tensors: TensorInfo[] = [
      { name: 'w', type: 'F32', shape: [16] },
      { name: 'v', type: 'F32', shape: [8], offset: 32 },
    ]
    refused(ggufBytes({ entries: [], tensors }), 'tensor "v"', 'overlap')
  })

  test('with a type that this build does not know is refused as unsupported, by its name', () => {
    const types = { 16: 'IQ2_XXS', 34: 'TQ1_0', 9: 'Q8_1', 4000000000: 'unknown' }
    for (const [typeId, name] of Object.entries(types)) {
      const bytes = oneTensor({ typeId: Number(typeId) })
      expect(() => parse(bytes)).toThrow(coded('unsupported', '"w"', typeId, name))
    }
  })

  test('is passed over when only the vocabulary is wanted', () => {
    const tensors: TensorInfo[] = [
      { name: 'w', type: 'F32', shape: [8], typeId: 16 },
      { name: 'v', type: 'F32', shape: [8] },
    ]
    const shown = reader.parseGguf(headerBytes({ entries: everyEntry, tensors }), true)
    expect(shown.tensors.map(({ name, offset }) => [name, offset])).toEqual([['v', undefined]])
  })
})

describe.skipIf(!hasShared)('real files', () => {
  const manifest = hasShared
    ? sharedJson<{ files: { file: string }[] }>('golden/MANIFEST.json')
    : { files: [] }
  const files = manifest.files
    .map(({ file }) => file)
    .filter((file) => file.endsWith('.gguf.gz') && !file.startsWith('tokenizer/'))
  const ids = new Map<number, string>(
    Object.entries(elementTypes).map(([name, { id }]) => [id, name]),
  )

  test('are among the reference data', () => {
    expect(files.length).toBeGreaterThan(40)
  })

  test('are read, or refused for an element type that is not supported', () => {
    const refused = new Set<string>()
    for (const file of files) {
      const bytes = sharedBytes(`golden/${file}`)
      try {
        expect(parse(bytes).tensors.length, file).toBeGreaterThan(0)
      } catch (error) {
        expect(error, file).toMatchObject({ code: 'unsupported' })
        refused.add(String(error).match(/\((\w+)\)/)?.[1] ?? file)
      }
      expect(reader.parseGguf(bytes, true).entries.length, file).toBeGreaterThan(0)
    }
    for (const type of refused) expect([...ids.values()]).not.toContain(type)
  })
})
