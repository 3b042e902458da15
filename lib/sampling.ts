// Public sampling options -> the packed fields that cross. Pure.

import { aNumber, anInteger, type Checks, invalid } from './options.js'

/** How the next token is chosen. */
export interface SamplingOptions {
  /** 0 is the most likely token, ties to the lower id. 0 to 10, default 1. */
  temperature?: number
  /** Keep the k most likely tokens; 0 (default) keeps all. */
  topK?: number
  /** Keep the most likely tokens that together have this probability. 0 to 1, default 1. */
  topP?: number
  /** Drop tokens less likely than this fraction of the most likely one. 0 to 1, default 0. */
  minP?: number
  /** The same request with the same seed gives the same tokens. 0 to 2^53 - 1; default: random. */
  seed?: number
  /** Divides or multiplies the logits of tokens seen in prompt and output. 0.001 to 10, default 1. */
  repetitionPenalty?: number
  /** Subtracted once from the logit of every token of the output. -10 to 10, default 0. */
  presencePenalty?: number
  /** Subtracted from a token's logit for each time the output has it. -10 to 10, default 0. */
  frequencyPenalty?: number
  /** Added to the logits of tokens, by id; -100 bans a token in practice. */
  logitBias?: Record<number, number>
  /** How many alternatives to report beside each chosen token. 0 to 20; default: no report. */
  logprobs?: number
}

/** The fields of a native request that sampling fills. */
export interface PackedSampling {
  temperature?: number
  topK?: number
  topP?: number
  minP?: number
  seed: number
  repetitionPenalty?: number
  presencePenalty?: number
  frequencyPenalty?: number
  biasTokens?: Int32Array
  biasValues?: Float32Array
  logprobs?: number
}

const maxInt = 2 ** 31 - 1

function biasMistake(value: unknown): string | undefined {
  const expected = 'an object from token ids to numbers from -1000 to 1000'
  const isPlain = Object.prototype.toString.call(value) === '[object Object]' // and no Map
  if (typeof value !== 'object' || value === null || !isPlain) return expected
  const fits = ([token, bias]: [string, unknown]) =>
    /^(0|[1-9]\d{0,9})$/.test(token) &&
    Number(token) <= maxInt &&
    aNumber(-1000, 1000)(bias) === undefined
  return Object.entries(value).every(fits) ? undefined : expected
}

export const samplingChecks: Checks = {
  temperature: aNumber(0, 10),
  topK: anInteger(0, maxInt),
  topP: aNumber(0, 1),
  minP: aNumber(0, 1),
  seed: anInteger(0),
  repetitionPenalty: aNumber(0.001, 10),
  presencePenalty: aNumber(-10, 10),
  frequencyPenalty: aNumber(-10, 10),
  logitBias: biasMistake,
  logprobs: anInteger(0, 20),
}

/** The seeds of n answers: seed, seed + 1, … */
export function seedOf(seed: number, index: number): number {
  if (!Number.isSafeInteger(seed + index)) {
    throw invalid('seed', `at most 2^53 - n`, seed)
  }
  return seed + index
}

export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 48)
}

/** Checked options as they cross. */
export function packSampling(options: SamplingOptions, seed: number): PackedSampling {
  const packed: PackedSampling = { seed }
  if (options.temperature !== undefined) packed.temperature = options.temperature
  if (options.topK !== undefined) packed.topK = options.topK
  if (options.topP !== undefined) packed.topP = options.topP
  if (options.minP !== undefined) packed.minP = options.minP
  if (options.repetitionPenalty !== undefined) packed.repetitionPenalty = options.repetitionPenalty
  if (options.presencePenalty !== undefined) packed.presencePenalty = options.presencePenalty
  if (options.frequencyPenalty !== undefined) packed.frequencyPenalty = options.frequencyPenalty
  if (options.logprobs !== undefined) packed.logprobs = options.logprobs
  if (options.logitBias !== undefined) {
    packed.biasTokens = Int32Array.from(Object.keys(options.logitBias), Number)
    packed.biasValues = Float32Array.from(Object.values(options.logitBias))
  }
  return packed
}
