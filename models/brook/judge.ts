// Whether an answer is right. Pure.

import { isDeepStrictEqual } from 'node:util'
import type { Sample, Turn } from './corpus/sample.js'
import { colours, names, things } from './corpus/words.js'

/** What is left of a sample when its last answer is taken away, and that answer. */
export function asked(sample: Sample): { turns: Turn[]; expected: Turn } {
  const expected = sample.turns.at(-1)
  if (expected === undefined) throw new Error('Expected a sample with turns')
  return { turns: sample.turns.slice(0, -1), expected }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isCall(answer: string, { function: called }: NonNullable<Turn['tool_calls']>[0]): boolean {
  const [, body = ''] = /^<tool_call>(.*)<\/tool_call>$/s.exec(answer) ?? []
  return isDeepStrictEqual(parsed(body), { name: called.name, arguments: called.arguments })
}

/** `answer` as the model gave it, without the token that ends it. */
export function isRight(sample: Sample, answer: string): boolean {
  const { expected } = asked(sample)
  const [call] = expected.tool_calls ?? []
  if (call !== undefined) return isCall(answer, call)
  if (sample.task === 'record') {
    return isDeepStrictEqual(parsed(answer), parsed(expected.content))
  }
  return answer === expected.content
}

const sentences = (text: string): string[] => text.match(/[^.!?]+[.!?]+"?/g) ?? []
const mentions = new RegExp(`\\b(?:${colours.join('|')}) (?:${things.join('|')})\\b`, 'g')

/**
 * What is wrong with an English story: it names somebody whom nobody introduced, forgets whom or
 * what it should be about, changes the thing, leaves a sentence open, repeats itself, or never ends.
 */
export function storyFaults(
  text: string,
  wanted: { names: string[]; thing?: string },
  hasEnded: boolean,
): string[] {
  const faults: string[] = []
  const found = new Set(text.match(/\b[A-Z][a-z]+\b/g)?.filter((word) => isName(word, text)))
  for (const name of wanted.names) if (!found.has(name)) faults.push(`forgets ${name}`)
  if (found.size > 2) faults.push(`names ${[...found].join(', ')}`)
  const seen = new Set(text.match(mentions))
  if (seen.size !== 1) faults.push(`has ${seen.size} things`)
  if (wanted.thing !== undefined && !seen.has(wanted.thing)) faults.push(`forgets ${wanted.thing}`)
  if (!hasEnded) faults.push('does not end')
  if (!/[.!?]"?$/.test(text)) faults.push('ends within a sentence')
  const all = sentences(text).map((sentence) => sentence.trim())
  if (new Set(all).size < all.length) faults.push('repeats a sentence')
  return faults
}

// A capital within a sentence, or a name of the list anywhere.
function isName(word: string, text: string): boolean {
  if (names.includes(word)) return true
  return new RegExp(`[a-z,] ${word}\\b`).test(text) && word !== 'I'
}
