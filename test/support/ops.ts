// The operators of every table over typed arrays, and what their tests measure with.

import { probe } from './probe.js'

export interface Where {
  table: string
  threads?: number
}

export interface Sequence {
  q: Float32Array
  k: Float32Array
  v: Float32Array
  out: Float32Array
}

export interface AttentionCall extends Where {
  cacheType: 'F32' | 'F16' | 'Q8_0'
  heads: number
  kvHeads: number
  headDim: number
  pageTokens?: number
  layers?: number
  layer?: number
  scale: number
  window?: number
  softCap?: number
  /** A fault: attention reads the pages that lie so many after the right ones. */
  pageShift?: number
  /** What is done with heads before they are stored: norms' weights, then a rope. */
  qNorm?: Float32Array
  kNorm?: Float32Array
  invFreq?: Float32Array
  adjacent?: boolean
  /** Waits between one operator and the next. */
  apart?: boolean
  /** A square weight of BF16 that multiplies what attention gives, and what attention is told of it. */
  mixer?: Uint8Array
  passedTo?: 'BF16'
  /** Every byte of the cache before the first step. */
  fill?: number
  sequences: Sequence[]
  /** Per step: sequence, first position, rows, and so on. */
  steps: Int32Array[]
}

/** What is asked of one row of logits, as native/ops/sampling.h names it. */
export interface SampleQuery {
  uniform?: number
  inverseTemperature?: number
  topK?: number
  topP?: number
  least?: number
  repetitionPenalty?: number
  presencePenalty?: number
  frequencyPenalty?: number
  target?: number
  wantsSum?: number
  changes?: { token: number; inOutput?: number; bias?: number }[]
}

/** A weight as the file holds it, to be multiplied plain or packed. */
export interface Product {
  type: string
  rows: number
  weight: Uint8Array
  packed: boolean
  bias?: Float32Array
}

/** The norm or the gate that writes the input of a product; `apart`: in a step of its own. */
export type Before = { apart?: boolean } & (
  | { x: Float32Array; add?: Float32Array; weight: Float32Array }
  | { gate: Float32Array; up: Float32Array }
)

export const ops = probe<{
  deviceTables(): string[]
  opsEmbed(
    call: Where & {
      dtype: string
      rows: number
      cols: number
      data: Uint8Array
      tokens: Int32Array
      drawn?: Int32Array // tokens of rows that tokens below 0 stand for
      scale: number
      out: Float32Array
    },
  ): void
  opsNorm(
    call: Where & {
      x: Float32Array
      add?: Float32Array
      weight: Float32Array
      out: Float32Array
      n: number
      dim: number
      eps: number
    },
  ): void
  opsRope(
    call: Where & {
      x: Float32Array
      stride?: number
      n: number
      heads: number
      headDim: number
      rotary: number
      adjacent: number
      positions: Int32Array
      invFreq: Float32Array
      magnitude: number
    },
  ): void
  opsGate(
    call: Where & { gate: Float32Array; up: Float32Array; out: Float32Array; act: string },
  ): void
  opsAdd(call: Where & { x: Float32Array; y: Float32Array }): void
  opsTopK(
    call: Where & { x: Float32Array; indices: Int32Array; values: Float32Array; k: number },
  ): void
  /** told: token, value, highest and weight sum of each row. */
  opsSample(call: Where & { x: Float32Array; rows: SampleQuery[]; told: Float64Array }): void
  opsGather(
    call: Where & { x: Float32Array; rows: Int32Array; dim: number; out: Float32Array },
  ): void
  opsAttention(call: AttentionCall): void
  matmulTables(): string[]
  matmulTypes(): { name: string; block: number }[]
  packedBytes(table: string, type: string, rows: number, cols: number): number
  feedForward(
    table: string,
    x: Float32Array,
    n: number,
    gate: Product,
    up: Product,
    down: Product,
    isPassedOn: boolean,
  ): Float32Array
  matmul(
    table: string,
    threads: number,
    x: Float32Array,
    n: number,
    products: Product[],
    before?: Before,
  ): Float32Array[]
  encodeRow(type: string, values: Float32Array): Uint8Array
  decodeRow(type: string, bytes: Uint8Array, n: number): Float32Array
}>()

/** The tables of this processor and, where it was built, the host form of the CUDA kernels. */
export const tables = ops.deviceTables()

/** Half the distance between 1 and the next f32. */
export const unit = 2 ** -24

/** n numbers that look normal with the given spread; the same for the same seed. */
export function normals(seed: number, n: number, spread = 1): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0
  const uniform = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
  const values = new Float32Array(n)
  for (let i = 0; i < n; i++) {
    let sum = -6
    for (let j = 0; j < 12; j++) sum += uniform()
    values[i] = sum * spread
  }
  return values
}

export const at = (values: ArrayLike<number>, index: number): number => {
  const value = values[index]
  if (value === undefined) throw new Error(`Expected an index below ${values.length}: ${index}`)
  return value
}

/** The largest |actual - expected| over its bound; a test expects at most 1. NaN counts as infinite. */
export function worst(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: (index: number) => number,
): number {
  let most = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY
  for (let i = 0; i < actual.length; i++) {
    const ratio = Math.abs(at(actual, i) - at(expected, i)) / bound(i)
    if (!(ratio <= most)) most = Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio
  }
  return most
}

/** Whether two arrays hold the same bits. */
export function sameBits(a: Float32Array, b: Float32Array): boolean {
  const bytes = (x: Float32Array): Buffer => Buffer.from(x.buffer, x.byteOffset, x.byteLength)
  return bytes(a).equals(bytes(b))
}
