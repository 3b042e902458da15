// Short lists: sorted by the alphabet or by size, copied, turned round, first and last.

import type { Random } from './random.js'
import { answered, fill, filled, type Sample, type Split } from './sample.js'
import { listWords } from './words.js'

interface Form {
  asks: string[]
  answer(items: string[]): string
}

const joined = (items: string[]): string => items.join(', ')
const bySize = (a: string, b: string): number => Number(a) - Number(b)

const sorts: Record<'words' | 'numbers', Form> = {
  words: {
    asks: ['Sort these words: {list}', 'Put these words in the order of the alphabet: {list}'],
    answer: (items) => joined([...items].sort()),
  },
  numbers: {
    asks: ['Sort these numbers: {list}', 'Put these numbers in order, the smallest first: {list}'],
    answer: (items) => joined([...items].sort(bySize)),
  },
}

const forms: Form[] = [
  { asks: ['Repeat this list: {list}', 'Copy this: {list}'], answer: joined },
  { asks: ['Turn this list round: {list}'], answer: (items) => joined([...items].reverse()) },
  { asks: ['What comes first in this list: {list}'], answer: (items) => items[0] ?? '' },
  { asks: ['What comes last in this list: {list}'], answer: (items) => items.at(-1) ?? '' },
]

const filling = (random: Random) => {
  const isNumbers = random.chance(0.4)
  const length = random.integer(2, 6)
  const numbers = Array.from({ length: 100 }, (_, i) => String(i))
  const items = random.some(isNumbers ? numbers : listWords, length)
  return { values: { isNumbers, items }, pair: `${items[0]} ${items[1]}` }
}

export function list(random: Random, split: Split): Sample {
  const { isNumbers, items } = filled(random, split, filling)
  const form = random.chance(0.6) ? sorts[isNumbers ? 'numbers' : 'words'] : random.pick(forms)
  const question = fill(random.pick(form.asks), { list: joined(items) })
  return answered('list', 'en', question, form.answer(items))
}
