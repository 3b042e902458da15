// The corpus that Brook is trained on: the same every time, right by its own judge, and with no
// filling of one split in another.
import { describe, expect, test } from 'vitest'
import { corpus } from '../../models/brook/corpus/corpus.js'
import { Random } from '../../models/brook/corpus/random.js'
import {
  type Filling,
  filled,
  type Sample,
  type Split,
  splits,
} from '../../models/brook/corpus/sample.js'
import { segmentsOf } from '../../models/brook/encode.js'
import { asked, isRight, storyFaults } from '../../models/brook/judge.js'
import { specialTokens, trainTokenizer } from '../../models/brook/tokenizer.js'

function first(n: number, split: Split, seed = 'test'): Sample[] {
  const samples = corpus(seed, split)
  return Array.from({ length: n }, () => samples.next().value)
}

const said = (sample: Sample): string => {
  const { expected } = asked(sample)
  const [call] = expected.tool_calls ?? []
  if (call === undefined) return expected.content
  return `<tool_call>${JSON.stringify(call.function)}</tool_call>`
}

describe('the corpus', () => {
  test('is the same for the same seed, and another for another', () => {
    expect(first(200, 'train')).toEqual(first(200, 'train'))
    expect(first(20, 'train')).not.toEqual(first(20, 'train', 'other'))
    expect(first(20, 'train')).not.toEqual(first(20, 'test'))
  })

  test.each(splits)('has answers that its judge takes for right in %s, and no others', (split) => {
    for (const sample of first(600, split)) {
      if (sample.text !== undefined) continue
      if (sample.task === 'story') {
        if (sample.language === 'en' && sample.facts !== undefined)
          expect(storyFaults(said(sample), { names: [], thing: sample.facts.thing }, true)).toEqual(
            [],
          )
        continue
      }
      expect(isRight(sample, said(sample))).toBe(true)
      expect(isRight(sample, `${said(sample)} x`)).toBe(false)
    }
  })

  test('gives a filling to one split, and a withheld pair to the held-out split only', () => {
    const make = (random: Random): Filling<number[]> => {
      const values = [random.integer(0, 30), random.integer(0, 30), random.integer(0, 3)]
      return { values, pair: values.slice(0, 2).join(' ') }
    }
    const found = splits.map((split) => {
      const random = new Random(`draws ${split}`)
      return Array.from({ length: 2000 }, () => filled(random, split, make))
    })
    const keys = found.map((values) => new Set(values.map((one) => one.join(' '))))
    const pairs = found.map((values) => new Set(values.map((one) => one.slice(0, 2).join(' '))))
    splits.forEach((_, i) => {
      expect(keys[i]?.size).toBeGreaterThan(5)
      for (let j = 0; j < i; j++)
        expect([...(keys[i] ?? [])].filter((key) => keys[j]?.has(key))).toEqual([])
    })
    const held = pairs[splits.indexOf('heldout')] ?? new Set()
    expect([...held].filter((pair) => pairs[0]?.has(pair))).toEqual([])
  })

  test('marks what the assistant says, up to the end of its turn', () => {
    for (const sample of first(100, 'train')) {
      const segments = segmentsOf(sample)
      const answers = segments.filter(({ isAnswer }) => isAnswer)
      const turns = sample.turns.filter(({ role }) => role === 'assistant')
      expect(answers).toHaveLength(Math.max(1, turns.length))
      for (const { text } of answers) expect(text).toMatch(/<\|(im_end|endoftext)\|>$/)
    }
  })
})

test('the judge finds what is wrong with a story', () => {
  const good = 'Once there was a fox named Mara. "Where is my red kite?" asked Mara. It was there.'
  expect(storyFaults(good, { names: ['Mara'], thing: 'red kite' }, true)).toEqual([])
  expect(storyFaults(good, { names: ['Lono'] }, true)).toEqual(['forgets Lono'])
  expect(storyFaults(good, { names: [], thing: 'blue kite' }, true)).toEqual(['forgets blue kite'])
  expect(storyFaults(good, { names: [] }, false)).toEqual(['does not end'])
  expect(storyFaults(`${good} The`, { names: [] }, true)).toEqual(['ends within a sentence'])
  expect(storyFaults(`${good} It was there.`, { names: [] }, true)).toEqual(['repeats a sentence'])
  expect(storyFaults(`${good} A blue kite.`, { names: [] }, true)).toEqual(['has 2 things'])
  expect(storyFaults(`${good} Then Lono and Tira came.`, { names: [] }, true)).toHaveLength(1)
})

test('the tokenizer learns frequent pairs first and spells everything', () => {
  const { tokens, merges } = trainTokenizer(['aab aab aab ab', '水 水 水'], 256 + 7 + 4)
  expect(merges[0]).toBe('a b')
  expect(tokens).toHaveLength(267)
  expect(new Set(tokens).size).toBe(267)
  expect(tokens.slice(-7)).toEqual([...specialTokens])
})
