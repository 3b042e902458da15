// Random weights, written directly as blocks of a chosen element type: valid codes and scales, mean
// near zero, a given standard deviation. Speed does not depend on what weights say, so nothing is
// quantized here; the same seed gives the same bytes.
import { createCipheriv } from 'node:crypto'
import { type ElementType, elementTypes } from './gguf-writer.js'

const f16Bits = (value: number): number => {
  const bits = new Uint32Array(new Float32Array([Math.abs(value)]).buffer)[0] ?? 0
  if (bits < 113 << 23) return Math.round(Math.abs(value) * 2 ** 24)
  return (bits + 0x1000 - (112 << 23)) >>> 13
}

/** Deterministic random bytes: AES in counter mode under a key made of the seed and the name. */
export const randomBytes = (seed: number, stream: number, length: number): Buffer => {
  const key = Buffer.alloc(16)
  key.writeDoubleLE(seed, 0)
  key.writeDoubleLE(stream, 8)
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(length))
}

/** Sets the scales in one block of random bytes at `at`, for values of standard deviation `deviation`. */
type Scaling = (block: Buffer, at: number, deviation: number) => void

// Scales differ from block to block by up to a factor of 1.25, and in sign where codes lean to one
// side; both are taken from the random bytes that the scale replaces.
const varied = (block: Buffer, at: number, value: number): number =>
  f16Bits(value * (0.75 + (block[at] ?? 0) / 512))

const writeScale = (block: Buffer, at: number, value: number, signed: boolean): number => {
  const sign = signed ? ((block[at + 1] ?? 0) & 0x80) << 8 : 0
  const bits = varied(block, at, value)
  block.writeUInt16LE(bits | sign, at)
  return bits
}

const f16Value = (bits: number): number =>
  bits < 1024 ? bits * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** ((bits >> 10) - 15)

const single =
  (codeDeviation: number, signed: boolean, at = 0): Scaling =>
  (block, start, deviation) => {
    writeScale(block, start + at, deviation / codeDeviation, signed)
  }

// d and m of value = d * code + m, m centring the codes.
const withMinimum =
  (codeDeviation: number, middle: number): Scaling =>
  (block, start, deviation) => {
    const bits = writeScale(block, start, deviation / codeDeviation, false)
    block.writeUInt16LE(f16Bits(f16Value(bits) * middle) | 0x8000, start + 2)
  }

// The 12 bytes of 8 scales and 8 minimums of 6 bits, each minimum equal to its scale, all 32 to 63.
const pairScales = (block: Buffer, at: number): void => {
  for (let s = 0; s < 4; s++) {
    const low = 32 | ((block[at + s] ?? 0) & 31)
    const high = 32 | ((block[at + 4 + s] ?? 0) & 31)
    block[at + s] = low | ((high >> 4) << 6)
    block[at + 4 + s] = low | ((high >> 4) << 6)
    block[at + 8 + s] = (high & 15) * 17
  }
}

const superBlock =
  (codeDeviation: number, middle: number): Scaling =>
  (block, start, deviation) => {
    const bits = writeScale(block, start, deviation / (codeDeviation * 48), false)
    block.writeUInt16LE(f16Bits(f16Value(bits) * middle), start + 2)
    pairScales(block, start + 4)
  }

const scaleQ2K: Scaling = (block, start, deviation) => {
  for (let s = 0; s < 16; s++) block[start + s] = (8 | ((block[start + s] ?? 0) & 7)) * 17
  const bits = writeScale(block, start + 80, deviation / (1.12 * 11.5), false)
  block.writeUInt16LE(f16Bits(f16Value(bits) * 1.5), start + 82)
}

const scaleMxfp4: Scaling = (block, start, deviation) => {
  const exponent = Math.round(Math.log2(deviation / 5.6)) + 128
  block[start] = exponent - ((block[start] ?? 0) & 1)
}

// Floats keep their random sign and mantissa; two random bits choose among four exponents.
const float =
  (bytes: 2 | 4, mantissaBits: number, bias: number): Scaling =>
  (block, start, deviation) => {
    const top = Math.round(Math.log2(deviation / 0.88)) + bias
    const at = start + bytes - 2
    const random = block.readUInt16LE(at)
    const shift = mantissaBits - (bytes - 2) * 8
    const exponent = top - ((random >> shift) & 3)
    const kept = random & (0x8000 | ((1 << shift) - 1))
    block.writeUInt16LE(kept | (exponent << shift), at)
  }

const scalings: Record<ElementType, Scaling> = {
  F32: float(4, 23, 127),
  F16: float(2, 10, 15),
  BF16: float(2, 7, 127),
  Q4_0: single(4.64, true),
  Q4_1: withMinimum(4.61, 7.5),
  Q5_0: single(9.25, true),
  Q5_1: withMinimum(9.23, 15.5),
  Q8_0: single(73.9, false),
  Q2_K: scaleQ2K,
  Q3_K: single(18.5 * 2.35, false, 108),
  Q4_K: superBlock(4.61, 7.5),
  Q5_K: superBlock(9.23, 15.5),
  Q6_K: single(73.9 * 18.5, false, 208),
  IQ4_NL: single(69, true),
  IQ4_XS: single(18.5 * 69, false),
  MXFP4: scaleMxfp4,
}

/** `length` bytes of blocks, a whole number of them. */
export const randomBlocks = (
  type: ElementType,
  length: number,
  deviation: number,
  source: { seed: number; stream: number },
): Buffer => {
  const bytes = randomBytes(source.seed, source.stream, length)
  const scale = scalings[type]
  const step = elementTypes[type].bytes
  for (let at = 0; at < length; at += step) scale(bytes, at, deviation)
  return bytes
}
