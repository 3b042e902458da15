// Sums, differences and counting up to 20.

import { chineseNames } from './chinese.js'
import type { Random } from './random.js'
import { answered, fill, filled, type Language, type Sample, type Split } from './sample.js'
import * as words from './words.js'

interface Forms {
  plus: string[]
  minus: string[]
  upward: string[]
  downward: string[]
  things: string[]
}

const forms: Record<Language, Forms> = {
  en: {
    plus: [
      'What is {a} + {b}?',
      '{a} + {b} =',
      'How much is {a} plus {b}?',
      '{name} has {a} {thing}s and gets {b} more. How many {thing}s does {name} have now?',
      'There are {a} {thing}s on the table and {b} in the box. How many are there in all?',
    ],
    minus: [
      'What is {a} - {b}?',
      '{a} - {b} =',
      'How much is {a} minus {b}?',
      '{name} has {a} {thing}s and gives away {b}. How many are left?',
    ],
    upward: ['Count from {a} to {b}.', 'Write the numbers from {a} to {b}.'],
    downward: ['Count down from {b} to {a}.'],
    things: ['How many words are in this list: {list}?', 'Count these: {list}.'],
  },
  zh: {
    plus: [
      '{a} + {b} 等于多少？',
      '{a}加{b}是多少？',
      '{name}有{a}个球，又得到{b}个。现在有几个球？',
    ],
    minus: ['{a} - {b} 等于多少？', '{a}减{b}是多少？', '{name}有{a}个球，送走{b}个。还有几个球？'],
    upward: ['从{a}数到{b}。'],
    downward: ['从{b}倒数到{a}。'],
    things: ['这里有几个词：{list}？'],
  },
}

type Operation = 'plus' | 'minus'

const sumFilling = (most: number) => (random: Random) => {
  const operation: Operation = random.chance(0.6) ? 'plus' : 'minus'
  const a = random.integer(0, most)
  const b = random.integer(0, operation === 'plus' ? most - a : a)
  return { values: { operation, a, b }, pair: `${operation} ${a} ${b}` }
}

// Half of what is trained on is larger: how digits add up shows there, and a withheld sum up to 20
// is one that other sums tell, not a fact that nobody told.
const mostInTraining = 99

export function sum(random: Random, split: Split, language: Language): Sample {
  const isLarge = split === 'train' && random.chance(0.5)
  const filling = sumFilling(isLarge ? mostInTraining : 20)
  const { operation, a, b } = filled(random, split, filling)
  const question = fill(random.pick(forms[language][operation]), {
    a,
    b,
    name: language === 'zh' ? random.pick(chineseNames) : words.someName(random),
    thing: random.pick(words.things.filter((thing) => !thing.endsWith('s') && thing !== 'box')),
  })
  return answered('sum', language, question, String(operation === 'plus' ? a + b : a - b))
}

const rangeFilling = (random: Random) => {
  const a = random.integer(0, 17)
  const b = random.integer(a + 1, Math.min(20, a + 12))
  const isUpward = random.chance(0.7)
  return { values: { a, b, isUpward }, pair: `${a} to ${b}` }
}

const listFilling = (random: Random) => {
  const list = random.some(words.listWords, random.integer(1, 9))
  return { values: list, pair: `${list[0]} ${list[1]}` }
}

export function count(random: Random, split: Split, language: Language): Sample {
  const { upward, downward, things } = forms[language]
  if (language === 'en' && random.chance(0.4)) {
    const list = filled(random, split, listFilling)
    const question = fill(random.pick(things), { list: list.join(', ') })
    return answered('sum', language, question, String(list.length))
  }
  const { a, b, isUpward } = filled(random, split, rangeFilling)
  const numbers = Array.from({ length: b - a + 1 }, (_, i) => a + i)
  const question = fill(random.pick(isUpward ? upward : downward), { a, b })
  return answered('sum', language, question, (isUpward ? numbers : numbers.reverse()).join(', '))
}
