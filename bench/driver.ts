// One engine behind five functions: open, generate, parallel, tokenize, close. Prompts are token
// ids, the choice is greedy and never stops early, so that every engine does the same work.

import type { Sample } from './case.js'
import type { Job } from './measure.js'

export interface OpenOptions {
  file: string
  threads: number
  /** Streams that run at once. */
  sequences: number
  /** Positions each stream needs. */
  contextTokens: number
  vocabularyOnly: boolean
}

export interface StreamRequest {
  prompt: Int32Array
  tokens: number
  /** What a user says, in place of the prompt, where the engine has chats. */
  chat?: string
  /** Await the whole answer instead of reading pieces, where the engine has such a call. */
  awaited: boolean
  /** Look at the clock for each piece; without it, arrivals are only counted. */
  timed: boolean
}

export interface Arrival {
  /** performance.now() when these tokens reached the consumer. */
  at: number
  tokens: number
}

export interface Stream {
  start: number
  arrivals: Arrival[]
  tokens: number[]
}

export interface Runtime {
  readonly version: string
  /** What the engine says it runs on. */
  readonly detail: string
  generate(request: StreamRequest): Promise<Stream>
  parallel(requests: readonly StreamRequest[]): Promise<Stream[]>
  tokenize(text: string): ArrayLike<number>
  /** Steps of the engine so far, where it says. */
  steps(): number | undefined
  close(): Promise<void>
}

export interface Driver {
  open(options: OpenOptions): Promise<Runtime>
}

/** A program that times itself; a sample of each case of the job. */
export interface ToolDriver {
  measure(job: Job): Promise<Sample[]>
}
