// Questions about a passage: facts about people, some of them far back, one of them asked for.

import type { Random } from './random.js'
import {
  assistant,
  fill,
  filled,
  type Sample,
  type Split,
  type Turn,
  user,
  withArticle,
} from './sample.js'
import { tell } from './stories.js'
import * as words from './words.js'

interface Relation {
  draw(random: Random): string
  says: string[]
  asks: string[]
  /** Asks for the person instead. */
  whose: string[]
}

const relations: Record<string, Relation> = {
  city: {
    draw: (random) => random.pick(words.cities),
    says: ['{name} lives in {value}.', '{name} has a small house in {value}.'],
    asks: ['Where does {name} live?', 'In which city does {name} live?'],
    whose: ['Who lives in {value}?'],
  },
  job: {
    draw: (random) => random.pick(words.jobs),
    says: ['{name} is {a_value}.', '{name} works as {a_value}.'],
    asks: ['What is the job of {name}?', 'What does {name} work as?'],
    whose: ['Who is {a_value}?', 'Who works as {a_value}?'],
  },
  food: {
    draw: (random) => random.pick(words.foods),
    says: ['{name} likes {value} best.', 'The favourite food of {name} is {value}.'],
    asks: ['What does {name} like to eat?', 'What is the favourite food of {name}?'],
    whose: ['Who likes {value}?'],
  },
  thing: {
    draw: (random) => `${random.pick(words.colours)} ${random.pick(words.things)}`,
    says: ['{name} has {a_value}.', 'In the bag of {name} there is {a_value}.'],
    asks: ['What does {name} have?', 'Which thing belongs to {name}?'],
    whose: ['Who has {a_value}?', 'Whose is the {value}?'],
  },
  pet: {
    draw: (random) => random.pick(words.animals),
    says: ['{name} has {a_value} at home.', 'The pet of {name} is {a_value}.'],
    asks: ['Which animal does {name} have?', 'What is the pet of {name}?'],
    whose: ['Who has {a_value} at home?'],
  },
  hobby: {
    draw: (random) => random.pick(words.hobbies),
    says: ['{name} enjoys {value}.', 'On Sundays {name} goes {value}.'],
    asks: ['What does {name} enjoy?', 'What is the hobby of {name}?'],
    whose: ['Who enjoys {value}?'],
  },
  age: {
    draw: (random) => String(random.integer(3, 90)),
    says: ['{name} is {value} years old.', 'Last week {name} turned {value}.'],
    asks: ['How old is {name}?', 'What is the age of {name}?'],
    whose: ['Who is {value} years old?'],
  },
  count: {
    draw: (random) => String(random.integer(2, 20)),
    says: ['{name} counts {value} birds.', 'From the window {name} sees {value} birds.'],
    asks: ['How many birds does {name} see?', 'How many birds are there for {name}?'],
    whose: ['Who sees {value} birds?'],
  },
}
const kinds = Object.keys(relations)
const relationOf = (kind: string): Relation => {
  const relation = relations[kind]
  if (relation === undefined) throw new Error(`Expected a relation but received "${kind}"`)
  return relation
}

interface Fact {
  kind: string
  name: string
  value: string
}

const factFilling = (random: Random) => {
  const kind = random.pick(kinds)
  const fact: Fact = { kind, name: words.someName(random), value: relationOf(kind).draw(random) }
  return { values: fact, pair: `${fact.name} ${fact.value}` }
}

const slots = ({ name, value }: Fact) => ({ name, value, a_value: withArticle(value) })

// No other fact may answer the question too.
const differs = (asked: Fact) => (other: Fact) =>
  other.kind !== asked.kind || (other.name !== asked.name && other.value !== asked.value)

const questionForms = [
  'Read this text.\n\n{passage}\n\n{question}',
  '{passage}\n\n{question}',
  'Text: {passage}\n\nQuestion: {question}',
  'Answer with the words of the text.\n\n{passage}\n\n{question}',
]

/**
 * How many facts beside the one asked for, and how many stories between them. Training has more of
 * the long ones, which are learned last.
 */
function length(random: Random, split: Split): { facts: number; stories: number } {
  if (random.chance(split === 'train' ? 0.5 : 0.7))
    return { facts: random.integer(1, 6), stories: 0 }
  if (random.chance(0.7)) return { facts: random.integer(6, 16), stories: random.integer(0, 1) }
  return { facts: random.integer(8, 24), stories: random.integer(1, 4) }
}

function storyBetween(random: Random): string {
  const [hero = '', friend = ''] = words.someNames(random, 2)
  return tell(random, {
    hero,
    friend,
    heroKind: random.pick(words.animals),
    friendKind: random.pick(words.animals),
    colour: random.pick(words.colours),
    thing: random.pick(words.things),
    place: random.pick(words.places),
    isShe: random.chance(0.5),
  })
}

/** A fact as the text tells it. */
interface Told extends Fact {
  sentence: string
}

/** A question that the fact answers; the answer is what the text says. */
function question(random: Random, fact: Told): string {
  const { asks, whose } = relationOf(fact.kind)
  return fill(random.pick(random.chance(0.7) ? asks : whose), slots(fact))
}

const mostQuestions = 8

export function passage(random: Random, split: Split): Sample {
  const { facts, stories } = length(random, split)
  const all: Told[] = []
  while (all.length <= facts) {
    const fact = filled(random, all.length === 0 ? split : 'train', factFilling)
    const sentence = fill(random.pick(relationOf(fact.kind).says), slots(fact))
    if (all.every(differs(fact))) all.push({ ...fact, sentence })
  }
  const [asked, ...others] = all as [Told, ...Told[]]
  const sentences = random.shuffled(all).map((fact) => fact.sentence)
  for (let i = 0; i < stories; i++) {
    sentences.splice(random.integer(0, sentences.length), 0, `\n\n${storyBetween(random)}\n\n`)
  }
  const text = sentences
    .join(' ')
    .replace(/ ?\n\n ?(\n\n ?)?/g, '\n\n')
    .trim()
  // The one judged is always the last. In training a text is asked about more than once: most of
  // what there is to learn from it lies in the answers.
  const most = split === 'train' ? mostQuestions : 2
  const before = random.some(others, random.integer(0, Math.min(most - 1, others.length)))
  const turns: Turn[] = [...before, asked].flatMap((fact, i) => {
    const asks = question(random, fact)
    const first = fill(random.pick(questionForms), { passage: text, question: asks })
    return [user(i === 0 ? first : asks), assistant(fact.sentence)]
  })
  return { task: 'passage', language: 'en', turns }
}
