// What the corpus is made of, and which filling belongs to which split.

import { hash, type Random } from './random.js'

export type Split = 'train' | 'valid' | 'test' | 'heldout'
export const splits: readonly Split[] = ['train', 'valid', 'test', 'heldout']

export type Task = 'story' | 'chat' | 'passage' | 'sum' | 'list' | 'record' | 'tool'
export type Language = 'en' | 'zh'

/** A function that the model may call, in the shape of OpenAI's interface. */
export interface Tool {
  type: 'function'
  function: { name: string; description: string; parameters: object }
}

export interface Turn {
  role: 'system' | 'user' | 'assistant' | 'tool'
  content: string
  tool_calls?: { type: 'function'; function: { name: string; arguments: object } }[]
}

/** What a story must stay true to. */
export interface StoryFacts {
  names: string[]
  thing: string
}

/** One document. Without turns: plain text, a story. The last turn is the answer to learn. */
export interface Sample {
  task: Task
  language: Language
  turns: Turn[]
  tools?: Tool[]
  text?: string
  facts?: StoryFacts
}

/** What a sample is filled with, and the pair of values in it that may be withheld from training. */
export interface Filling<T> {
  values: T
  pair: string
}

const percent = (key: string): number => hash(key) % 100

// Of all pairs four in a hundred appear in the held-out split only; of all fillings without such a
// pair, two in a hundred appear in validation only and two in test only.
function splitOf(pair: string, values: string): Split {
  if (percent(`pair ${pair}`) < 4) return 'heldout'
  const place = percent(`filling ${values}`)
  return place < 2 ? 'valid' : place < 4 ? 'test' : 'train'
}

/** Draws until the filling belongs to the split. */
export function filled<T>(random: Random, split: Split, make: (random: Random) => Filling<T>): T {
  for (let tries = 0; tries < 100_000; tries++) {
    const { values, pair } = make(random)
    if (splitOf(pair, JSON.stringify(values)) === split) return values
  }
  throw new Error(`Expected a filling of ${split} among 100000`)
}

export const user = (content: string): Turn => ({ role: 'user', content })
export const assistant = (content: string): Turn => ({ role: 'assistant', content })

/** A sample of one question and its answer. */
export const answered = (
  task: Task,
  language: Language,
  question: string,
  answer: string,
): Sample => ({ task, language, turns: [user(question), assistant(answer)] })

/** Replaces {name} by values.name; a missing one is an error. */
export function fill(template: string, values: Record<string, string | number>): string {
  return template.replace(/\{(\w+)\}/g, (all, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`Expected a value for ${all} in "${template}"`)
    return String(value)
  })
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** "a" or "an" before it. */
export const withArticle = (noun: string): string => `${/^[aeiou]/.test(noun) ? 'an' : 'a'} ${noun}`
