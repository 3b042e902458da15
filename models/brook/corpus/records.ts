// A described record and a JSON Schema -> the record as JSON that fits the schema.

import type { Random } from './random.js'
import { answered, fill, filled, type Sample, type Split, withArticle } from './sample.js'
import * as words from './words.js'

type Value = string | number | boolean | string[]

interface Field {
  schema: object
  draw(random: Random): Value
  says(value: Value): string[]
}

const text = { type: 'string' }
const number = { type: 'integer' }

const fields: Record<string, Field> = {
  age: {
    schema: number,
    draw: (random) => random.integer(3, 90),
    says: (value) => [`is ${value} years old`, `turned ${value} last week`],
  },
  city: {
    schema: text,
    draw: (random) => random.pick(words.cities),
    says: (value) => [`lives in ${value}`, `comes from ${value}`],
  },
  job: {
    schema: text,
    draw: (random) => random.pick(words.jobs),
    says: (value) => [`works as ${withArticle(String(value))}`, `is ${withArticle(String(value))}`],
  },
  hobby: {
    schema: text,
    draw: (random) => random.pick(words.hobbies),
    says: (value) => [`enjoys ${value}`, `loves ${value}`],
  },
  pet: {
    schema: text,
    draw: (random) => random.pick(words.animals),
    says: (value) => [`has ${withArticle(String(value))}`, `keeps ${withArticle(String(value))}`],
  },
  married: {
    schema: { type: 'boolean' },
    draw: (random) => random.chance(0.5),
    says: (value) => (value ? ['is married'] : ['is not married']),
  },
  colour: {
    schema: { type: 'string', enum: ['red', 'green', 'blue', 'yellow'] },
    draw: (random) => random.pick(['red', 'green', 'blue', 'yellow']),
    says: (value) => [`wears ${value}`, `likes the colour ${value}`],
  },
  foods: {
    schema: { type: 'array', items: text },
    draw: (random) => random.some(words.foods, random.integer(1, 3)),
    says: (value) => [`eats ${spoken(value as string[])}`],
  },
}

const spoken = (items: string[]): string =>
  items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`

const filling = (random: Random) => {
  const keys = random.some(Object.keys(fields), random.integer(1, 4))
  const record: Record<string, Value> = { name: words.someName(random) }
  for (const key of keys) record[key] = fieldOf(key).draw(random)
  return { values: record, pair: `${record.name} ${record[keys[0] ?? '']}` }
}

function fieldOf(key: string): Field {
  const field = fields[key]
  if (field === undefined) throw new Error(`Expected a field but received "${key}"`)
  return field
}

function described(random: Random, record: Record<string, Value>): string {
  const { name, ...rest } = record
  const parts = random.shuffled(Object.keys(rest)).map((key) => {
    const value = rest[key]
    if (value === undefined) throw new Error(`Expected a value of ${key}`)
    return random.pick(fieldOf(key).says(value))
  })
  const sentences: string[] = []
  while (parts.length > 0) sentences.push(spoken(parts.splice(0, random.integer(1, 2))))
  return sentences.map((sentence) => `${name} ${sentence}.`).join(' ')
}

const asks = [
  'Write this as JSON that fits the schema.\n\nSchema: {schema}\n\nText: {text}',
  'Schema: {schema}\n\n{text}\n\nGive the JSON.',
  '{text}\n\nFill in this schema: {schema}',
]

export function record(random: Random, split: Split): Sample {
  const all = filled(random, split, filling)
  // The schema may leave out what the text tells, and has its own order.
  const { name = '', ...rest } = all
  const told = random.shuffled(Object.keys(rest))
  const kept = told.slice(0, random.integer(1, told.length))
  const keys = random.chance(0.7) ? ['name', ...kept] : random.shuffled(['name', ...kept])
  const properties = Object.fromEntries(
    keys.map((key) => [key, key === 'name' ? text : fieldOf(key).schema]),
  )
  const schema = { type: 'object', properties, required: keys }
  const answer = Object.fromEntries(keys.map((key) => [key, key === 'name' ? name : rest[key]]))
  const question = fill(random.pick(asks), {
    schema: JSON.stringify(schema),
    text: described(random, all),
  })
  return answered('record', 'en', question, JSON.stringify(answer))
}
