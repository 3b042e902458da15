// What an application may ask of an engine: the shapes, their checks, and how they are packed.

import { type Message, plainMessages } from './chat/messages.js'
import { type Model, markersOf, templateOf } from './model.js'
import type { NativeRequest } from './native.js'
import {
  aBoolean,
  anArray,
  anInteger,
  aSignal,
  aString,
  type Checks,
  oneOf,
  someStrings,
  someTokens,
  toTokens,
} from './options.js'
import { packSampling, type SamplingOptions, samplingChecks } from './sampling.js'

/** Which waiting requests go first; long waiting moves a request up. */
export type Priority = 'interactive' | 'normal' | 'batch'

/** What to generate: exactly one of `prompt` and `messages`, and how. */
export interface GenerateRequest extends SamplingOptions {
  /** Text, whose special tokens are plain text, or token ids. */
  prompt?: string | ArrayLike<number>
  /** A conversation, rendered with the model's chat template. */
  messages?: Message[]
  /** Not supported yet. */
  tools?: unknown[]
  /** Not supported yet. */
  toolChoice?: unknown
  /** Default: to the end of the context. */
  maxTokens?: number
  /** Strings that end the answer and are not part of it. */
  stop?: string[]
  /** Tokens that end the answer and are not part of it. */
  stopTokens?: number[]
  /** Go on after end tokens. */
  ignoreEos?: boolean
  /** Independent answers, of seeds `seed`, `seed + 1`, … Default 1. */
  n?: number
  /** Not supported yet. */
  schema?: object
  /** Not supported yet. */
  grammar?: string
  /** Not supported yet. */
  regex?: string
  /** Not supported yet. */
  adapter?: string
  /** Requests share cached prefixes only with requests of the same salt. */
  cacheSalt?: string
  /** Default `normal`. */
  priority?: Priority
  /** From submission; then the generation fails with code `deadline`. */
  deadlineMs?: number
  /** Aborts the generation, which then resolves with `finishReason: 'abort'`. */
  signal?: AbortSignal
}

/** What to score. */
export interface ScoreRequest {
  prompt: string | ArrayLike<number>
  /** Most likely next tokens to report per position, up to the vocabulary's size. Default 0. */
  top?: number
  signal?: AbortSignal
  priority?: Priority
}

const maxInt = 2 ** 31 - 1

const priorities = oneOf('interactive', 'normal', 'batch')

const aPrompt = (value: unknown) =>
  typeof value === 'string' || someTokens(value) === undefined
    ? undefined
    : 'a string or an array of token ids (integers from 0)'

/** What generate() takes. */
export const generateChecks: Checks = {
  ...samplingChecks,
  prompt: aPrompt,
  messages: anArray,
  maxTokens: anInteger(1, maxInt),
  stop: someStrings,
  stopTokens: someTokens,
  ignoreEos: aBoolean,
  n: anInteger(1, 1024),
  cacheSalt: aString,
  priority: priorities,
  deadlineMs: anInteger(1),
  signal: aSignal,
}

/** What generate() will take. */
export const generateLater = {
  tools: 'pass no tools',
  toolChoice: 'pass no tools',
  schema: 'constrained decoding is not there yet',
  grammar: 'constrained decoding is not there yet',
  regex: 'constrained decoding is not there yet',
  adapter: 'adapters are not there yet',
}

/** What score() takes. */
export const scoreChecks: Checks = {
  prompt: aPrompt,
  top: anInteger(0, maxInt),
  signal: aSignal,
  priority: priorities,
}

/** The fields of a prompt; messages become text in which special tokens count. */
function packPrompt(model: Model, request: GenerateRequest): Partial<NativeRequest> {
  const { prompt, messages } = request
  if ((prompt === undefined) === (messages === undefined)) {
    const given = prompt === undefined ? 'neither' : 'both'
    throw new TypeError(`Expected exactly one of "prompt" and "messages" but received ${given}`)
  }
  if (typeof prompt === 'string') return { text: prompt }
  if (prompt !== undefined) return { tokens: toTokens(prompt) }
  const plain = plainMessages(messages)
  const { bos, eos } = markersOf(model)
  const template = templateOf(model)
  const text = template.render({
    messages: template.withArguments(plain),
    bosToken: bos,
    eosToken: eos,
  })
  // The vocabulary's own BOS, unless the template wrote it.
  return { text, parseSpecial: true, addSpecial: bos === '' || !text.startsWith(bos) }
}

/** A checked request as it crosses. */
export function packRequest(model: Model, request: GenerateRequest, seed: number): NativeRequest {
  return {
    kind: 'generate',
    ...packPrompt(model, request),
    ...packSampling(request, seed),
    ...(request.maxTokens === undefined ? {} : { maxTokens: request.maxTokens }),
    ...(request.stop === undefined ? {} : { stop: request.stop }),
    ...(request.stopTokens === undefined ? {} : { stopTokens: toTokens(request.stopTokens) }),
    ...(request.ignoreEos === undefined ? {} : { ignoreEos: request.ignoreEos }),
    ...(request.cacheSalt === undefined ? {} : { cacheSalt: request.cacheSalt }),
    ...(request.priority === undefined ? {} : { priority: request.priority }),
    ...(request.deadlineMs === undefined ? {} : { deadlineMs: request.deadlineMs }),
    // Log-probabilities come with pieces only.
    wantsPieces: request.logprobs !== undefined,
  }
}
