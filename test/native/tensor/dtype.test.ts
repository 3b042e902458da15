import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ElementType, elementTypes } from '../../../bench/gguf-writer.js'
import { randomBlocks } from '../../../bench/random-blocks.js'
import { probe } from '../../support/probe.js'
import { hasShared, sharedBytes, sharedJson } from '../../support/shared.js'

interface Parts {
  level: Int32Array
  subScale: Int32Array
  subMin: Int32Array
  scale: Float32Array
  offset: Float32Array
  d: Float32Array
  dmin: Float32Array
  rejoined: Uint8Array
}

const { decodeRow, dtypeFromGguf, dtypes, encodeRow, splitRow, tensorRowOffset } = probe<{
  dtypes(): { name: string; ggufId: number; blockValues: number; blockBytes: number }[]
  dtypeFromGguf(id: number): string
  decodeRow(type: string, bytes: Uint8Array): Float32Array
  encodeRow(type: string, values: Float32Array): Uint8Array | undefined
  splitRow(type: string, bytes: Uint8Array): Parts
  tensorRowOffset(type: string, rows: number, cols: number, row: number): number
}>()

const bits = (values: Float32Array): Uint32Array =>
  new Uint32Array(values.buffer, values.byteOffset, values.length)

const quantized = (Object.keys(elementTypes) as ElementType[]).filter(
  (type) => elementTypes[type].values > 1,
)

const randomRow = (type: ElementType, seed: number, blocks = 16): Buffer =>
  randomBlocks(type, blocks * elementTypes[type].bytes, 0.5, { seed, stream: 0 })

describe('the table of element types', () => {
  test('agrees with the writer about ids, block lengths and block sizes', () => {
    const rows = new Map(dtypes().map((row) => [row.name, row]))
    for (const [name, { id, values, bytes }] of Object.entries(elementTypes)) {
      expect(rows.get(name)).toEqual({ name, ggufId: id, blockValues: values, blockBytes: bytes })
    }
  })

  test('finds a type by its GGUF id and refuses ids without a row', () => {
    expect(dtypeFromGguf(12)).toBe('Q4_K')
    expect(() => dtypeFromGguf(16)).toThrow(expect.objectContaining({ code: 'unsupported' }))
  })

  test('places rows of a matrix one behind the other', () => {
    expect(tensorRowOffset('Q4_0', 4, 64, 3)).toBe(3 * 36)
    expect(tensorRowOffset('F32', 4, 5, 2)).toBe(40)
  })
})

interface DequantCase {
  name: string
  type: string
  raw: string
  f32: string
}

const supported = new Set<string>(Object.keys(elementTypes))
const golden = hasShared
  ? sharedJson<{ dequant: DequantCase[] }>('golden/MANIFEST.json').dequant.filter(({ type }) =>
      supported.has(type),
    )
  : []

describe.skipIf(!hasShared)('decoding golden blocks', () => {
  test('covers every supported type', () => {
    expect(new Set(golden.map(({ type }) => type))).toEqual(supported)
  })

  test.each(golden)('reproduces $name bit for bit', ({ type, raw, f32 }) => {
    const expected = Buffer.from(sharedBytes(`golden/${f32}`))
    const decoded = decodeRow(type, sharedBytes(`golden/${raw}`))
    expect(Buffer.from(decoded.buffer).equals(expected)).toBe(true)
  })
})

describe.each(quantized)('%s taken apart', (type) => {
  test('is scale times level minus offset, rounded once, equal to the decoded value', () => {
    for (let seed = 0; seed < 20; seed++) {
      const row = randomRow(type, seed)
      const { level, offset, scale } = splitRow(type, row)
      const products = Array.from(level, (l, i) => (scale[i] ?? 0) * l)
      expect(products.every((product) => Math.fround(product) === product)).toBe(true)
      const rebuilt = products.map((product, i) => Math.fround(product - (offset[i] ?? 0)))
      const decoded = decodeRow(type, row)
      // Zero keeps its sign in the decoder; as a value it is the same zero.
      expect(rebuilt.every((value, i) => value === decoded[i])).toBe(true)
    }
  })

  test('has scales and offsets that are exact products of their factors', () => {
    const parts = splitRow(type, randomRow(type, 99))
    const product = (a: Float32Array, b: Int32Array, i: number) => (a[i] ?? 0) * (b[i] ?? 0)
    const { d, dmin, offset, scale, subMin, subScale } = parts
    expect(scale.every((value, i) => value === product(d, subScale, i))).toBe(true)
    expect(offset.every((value, i) => value === product(dmin, subMin, i))).toBe(true)
  })

  test('has levels that fit signed bytes', () => {
    const { level } = splitRow(type, randomRow(type, 5))
    expect(Math.min(...level)).toBeGreaterThanOrEqual(-128)
    expect(Math.max(...level)).toBeLessThanOrEqual(127)
  })

  test('goes together again to the same bytes', () => {
    for (let seed = 0; seed < 20; seed++) {
      const row = randomRow(type, seed)
      expect(Buffer.from(splitRow(type, row).rejoined).equals(row)).toBe(true)
    }
  })
})

// Largest error of a block, as a share of the block's largest magnitude, that a type's step allows.
// A symmetric type of n levels has steps of 2 / n of the extreme, and its extreme may clip one step
// on the other side; subscales of few bits widen the step.
const errorBounds: Record<string, number> = {
  Q4_0: 1 / 8,
  Q4_1: 1 / 14,
  Q5_0: 1 / 16,
  Q5_1: 1 / 29,
  Q8_0: 1 / 250,
  Q2_K: 0.45,
  Q3_K: 0.28,
  Q4_K: 0.09,
  Q5_K: 0.055,
  Q6_K: 0.04,
  IQ4_NL: 0.15,
  IQ4_XS: 0.17,
  MXFP4: 0.3,
}

describe.each(quantized)('%s encoding', (type) => {
  const { values: blockValues } = elementTypes[type]

  test('stays within the step of the type for any finite block', () => {
    const block = fc.array(fc.float({ min: -100, max: 100, noNaN: true }), {
      minLength: blockValues,
      maxLength: blockValues,
    })
    fc.assert(
      fc.property(block, (list) => {
        const values = Float32Array.from(list)
        const top = Math.max(...values.map(Math.abs))
        const decoded = decodeRow(type, encodeRow(type, values) ?? new Uint8Array())
        const worst = Math.max(...values.map((value, i) => Math.abs(value - (decoded[i] ?? 0))))
        // Scales are halves, whose smallest step is 2^-24: tiny blocks may lose that much.
        expect(worst).toBeLessThanOrEqual(top * (errorBounds[type] ?? 0) + 128 * 2 ** -24)
      }),
      { numRuns: 100 },
    )
  })

  test('is the identity on zeros', () => {
    const encoded = encodeRow(type, new Float32Array(blockValues * 2)) ?? new Uint8Array()
    expect(decodeRow(type, encoded).every((value) => value === 0)).toBe(true)
  })

  test('keeps a block of NaN apart from its neighbours', () => {
    const values = new Float32Array(blockValues * 2).fill(1)
    values.fill(Number.NaN, 0, blockValues)
    const decoded = decodeRow(type, encodeRow(type, values) ?? new Uint8Array())
    expect(decoded.slice(blockValues).every((value) => Math.abs(value - 1) < 0.35)).toBe(true)
  })
})

describe('halves', () => {
  const exactHalf = (pattern: number): number => {
    const sign = pattern & 0x8000 ? -1 : 1
    const [exponent, mantissa] = [(pattern >> 10) & 31, pattern & 1023]
    if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY
    if (exponent === 0) return sign * mantissa * 2 ** -24
    return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15)
  }
  const patterns = Uint16Array.from({ length: 65536 }, (_, i) => i)
  const decoded = decodeRow('F16', new Uint8Array(patterns.buffer))

  test('decode all 65536 patterns exactly', () => {
    expect(decoded.every((value, i) => Object.is(value, exactHalf(i)))).toBe(true)
  })

  test('encode what they decode, NaN apart', () => {
    const again = new Uint16Array(encodeRow('F16', decoded)?.slice().buffer ?? new ArrayBuffer(0))
    const same = again.every((p, i) => p === i || Number.isNaN(decoded[i]))
    expect(again.length).toBe(65536)
    expect(same).toBe(true)
  })

  test('round to nearest, ties to even, also between subnormals', () => {
    const finite = Array.from({ length: 0x7bff }, (_, i) => i)
    const between = finite.map((i) => (exactHalf(i) + exactHalf(i + 1)) / 2)
    const rounded = new Uint16Array(
      encodeRow('F16', Float32Array.from(between))?.slice().buffer ?? new ArrayBuffer(0),
    )
    expect(rounded.every((pattern, i) => pattern === i + (i & 1))).toBe(true)
  })

  test('overflow to infinity from 65520 on', () => {
    const edge = encodeRow('F16', Float32Array.of(65519, 65520, -1e30)) ?? new Uint8Array()
    expect([...decodeRow('F16', edge)]).toEqual([65504, Infinity, -Infinity])
  })

  test('of the bf16 kind are the upper half of a float, rounded to nearest even', () => {
    fc.assert(
      fc.property(fc.float({ noNaN: true }), (value) => {
        const pattern = bits(Float32Array.of(value))[0] ?? 0
        const low = pattern & 0xffff
        const up = low > 0x8000 || (low === 0x8000 && (pattern & 0x10000) !== 0)
        const expected = ((pattern >>> 16) + (up ? 1 : 0)) & 0xffff
        const [a = 0, b = 0] = encodeRow('BF16', Float32Array.of(value)) ?? []
        expect(a | (b << 8)).toBe(expected)
      }),
    )
  })
})

describe('integer types', () => {
  test('decode to their values and encode nothing', () => {
    expect([...decodeRow('I8', Uint8Array.of(255, 1))]).toEqual([-1, 1])
    expect([...decodeRow('I32', new Uint8Array(Int32Array.of(-70000).buffer))]).toEqual([-70000])
    expect(encodeRow('I8', Float32Array.of(1))).toBeUndefined()
  })
})
