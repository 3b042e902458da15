// The requests that a case stands for.
import type { Case } from './case.js'
import type { StreamRequest } from './driver.js'
import { prompt } from './text.js'

/** A case within its sitting. */
export interface Part {
  row: Case
  vocabulary: number
  round: number
  /** Its place in the sitting. */
  index: number
}

const promptOf = (row: Case, seed: number, index: number, vocabulary: number): Int32Array => {
  const { promptTokens, sharedTokens = 0 } = row
  const own = prompt(promptTokens, seed + index, vocabulary)
  own.set(prompt(promptTokens, seed, vocabulary).subarray(0, sharedTokens))
  return own
}

/** Seeds differ between cases, rounds and repetitions, so that no prefix cache helps anyone. */
export const requests = (part: Part, repetition: number): StreamRequest[] => {
  const { row, vocabulary, round } = part
  const seed = 1_000_000 * part.index + 10_000 * round + 100 * repetition
  return Array.from({ length: row.sequences }, (_, index) => ({
    prompt: promptOf(row, seed, index, vocabulary),
    tokens: row.tokens,
    awaited: row.awaited ?? false,
    timed: row.kind !== 'crossing',
  }))
}

/** Enough to have the weights packed where an engine does it beside its steps. */
export const warmUpTokens = 16
const warmUpRepetition = 99
const warmUpPromptTokens = 16

/** All streams, but short: touches every weight and page, compiles the consumers. */
export const shortened = (part: Part, tokens: number): StreamRequest[] =>
  requests(part, warmUpRepetition).map((request) => ({
    ...request,
    prompt: request.prompt.slice(0, warmUpPromptTokens),
    tokens,
  }))

const earlierRepetition = 50

/**
 * What every stream asked before: prompts that begin as those of the repetition and end otherwise. A
 * server with a cache for each stream has the shared tokens in every one of them then.
 */
export const askedBefore = (part: Part, repetition: number): StreamRequest[] => {
  const measured = requests(part, repetition)
  return requests(part, earlierRepetition + repetition).map(({ prompt, ...request }, index) => {
    prompt.set(measured[index]?.prompt.subarray(0, part.row.sharedTokens) ?? [])
    return { ...request, prompt, tokens: 1 }
  })
}

/** The longest prompt of the cases, and some tokens after it. */
export const warmUp = (parts: readonly Part[]): StreamRequest => {
  const [longest] = parts.toSorted((a, b) => b.row.promptTokens - a.row.promptTokens)
  const [request] = longest ? requests(longest, warmUpRepetition) : []
  if (!request) throw new Error('Expected a sequence')
  return { ...request, tokens: warmUpTokens }
}
