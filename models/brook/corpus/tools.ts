// Calls of a handful of tools, their arguments taken from the question, and answers from results.

import type { Random } from './random.js'
import {
  assistant,
  fill,
  filled,
  type Sample,
  type Split,
  type Tool,
  type Turn,
  user,
} from './sample.js'
import * as words from './words.js'

type Arguments = Record<string, string | number>

interface Kind {
  description: string
  parameters: Record<string, object>
  draw(random: Random, split: Split): Arguments
  asks: string[]
  /** What the tool gives back, and what to say then. */
  result(random: Random, given: Arguments): Record<string, string | number | boolean>
  says: string
}

const text = { type: 'string' }
const integer = { type: 'integer' }
const skies = ['sunny', 'rainy', 'cloudy', 'windy', 'snowy']
const messages = [
  'I am late',
  'dinner is ready',
  'see you soon',
  'please call me',
  'happy birthday',
  'the bus is here',
  'bring some milk',
  'good night',
]
const chores = ['water the plants', 'feed the cat', 'buy bread', 'call the dentist', 'wash the car']

// In training at times something else, often a word that no list holds, so that it is copied and
// not recognized.
const orElse = (
  random: Random,
  split: Split,
  known: string[],
  make: (random: Random) => string,
): string => (split === 'train' && random.chance(0.4) ? make(random) : random.pick(known))

const anyWord = (random: Random): string =>
  random.chance(0.5)
    ? words.inventedWord(random)
    : random.pick([...words.foods, ...words.listWords, ...words.things, ...words.animals])

const kinds: Record<string, Kind> = {
  get_weather: {
    description: 'The weather in a city',
    parameters: { city: text },
    draw: (random, split) => ({
      city: orElse(random, split, words.cities, words.inventedName),
    }),
    asks: [
      'What is the weather like in {city}?',
      'How is the weather in {city} today?',
      'Is it warm in {city}?',
    ],
    result: (random) => ({ degrees: random.integer(0, 35), sky: random.pick(skies) }),
    says: 'In {city} it is {sky} and {degrees} degrees.',
  },
  set_timer: {
    description: 'Start a timer',
    parameters: { minutes: integer },
    draw: (random) => ({ minutes: random.integer(1, 90) }),
    asks: [
      'Set a timer for {minutes} minutes.',
      'Wake me in {minutes} minutes.',
      'I need a timer: {minutes} minutes, please.',
    ],
    result: () => ({ started: true }),
    says: 'The timer runs for {minutes} minutes.',
  },
  send_message: {
    description: 'Send a text message to a person',
    parameters: { to: text, text },
    draw: (random) => ({ to: words.someName(random), text: random.pick(messages) }),
    asks: [
      'Tell {to}: {text}.',
      'Send {to} this message: {text}.',
      'Please write to {to} that {text}.',
    ],
    result: () => ({ sent: true }),
    says: 'I told {to}: {text}.',
  },
  add_numbers: {
    description: 'Add two numbers',
    parameters: { a: integer, b: integer },
    draw: (random) => ({ a: random.integer(21, 999), b: random.integer(21, 999) }),
    asks: ['What is {a} plus {b}?', 'Add {a} and {b}.', 'How much is {a} + {b}?'],
    result: (_, { a, b }) => ({ sum: Number(a) + Number(b) }),
    says: '{a} plus {b} is {sum}.',
  },
  add_reminder: {
    description: 'Remember something for a day',
    parameters: { task: text, day: text },
    draw: (random) => ({ task: random.pick(chores), day: random.pick(words.days) }),
    asks: [
      'Remind me on {day} to {task}.',
      'On {day} I have to {task}. Do not let me forget.',
      'I want to {task} on {day}. Please remind me.',
    ],
    result: () => ({ saved: true }),
    says: 'I will remind you on {day} to {task}.',
  },
  find_recipe: {
    description: 'Find a recipe with an ingredient',
    parameters: { ingredient: text },
    draw: (random, split) => ({
      ingredient: orElse(random, split, words.foods, anyWord),
    }),
    asks: [
      'What can I cook with {ingredient}?',
      'Find me a recipe with {ingredient}.',
      'I have {ingredient}. What shall I make?',
    ],
    result: (random) => ({ recipe: `${random.pick(words.colours)} stew` }),
    says: 'You can make {recipe} with {ingredient}.',
  },
  buy_item: {
    description: 'Buy something in the shop',
    parameters: { item: text, count: integer },
    draw: (random, split) => ({
      item:
        split === 'train' && random.chance(0.3)
          ? random.pick(words.foods)
          : `${random.pick(words.colours)} ${random.pick(words.things)}`,
      count: random.integer(2, 20),
    }),
    asks: [
      'Buy {count} of the {item}.',
      'Order {count} pieces of {item}, please.',
      'I would like {count} times the {item}.',
    ],
    result: (random) => ({ price: random.integer(5, 99) }),
    says: 'I bought {count} of the {item} for {price} coins.',
  },
  play_song: {
    description: 'Play a song of an artist',
    parameters: { artist: text },
    draw: (random) => ({ artist: `${words.someName(random)} ${words.someName(random)}` }),
    asks: ['Play a song by {artist}.', 'I want to hear {artist}.', 'Put on some {artist}.'],
    result: () => ({ playing: true }),
    says: 'Now playing {artist}.',
  },
}
const kindNames = Object.keys(kinds)

function kindOf(name: string): Kind {
  const kind = kinds[name]
  if (kind === undefined) throw new Error(`Expected a tool but received "${name}"`)
  return kind
}

function toolOf(name: string): Tool {
  const { description, parameters } = kindOf(name)
  return {
    type: 'function',
    function: {
      name,
      description,
      parameters: {
        type: 'object',
        properties: parameters,
        required: Object.keys(parameters),
      },
    },
  }
}

const filling = (split: Split) => (random: Random) => {
  const name = random.pick(kindNames)
  const given = kindOf(name).draw(random, split)
  return { values: { name, given }, pair: `${name} ${Object.values(given).join(' ')}` }
}

const refusal = 'I have no tool for that.'

/** A question, and the call that answers it; at times also what came of it. */
function exchange(random: Random, split: Split, isFor: (name: string) => boolean) {
  let asked = filled(random, split, filling(split))
  while (!isFor(asked.name)) asked = filled(random, split, filling(split))
  const { name, given } = asked
  const kind = kindOf(name)
  const question = user(fill(random.pick(kind.asks), given))
  const call: Turn = {
    role: 'assistant',
    content: '',
    tool_calls: [{ type: 'function', function: { name, arguments: given } }],
  }
  const turns: Turn[] = [question, call]
  if (random.chance(0.3)) {
    const result = kind.result(random, given)
    turns.push({ role: 'tool', content: JSON.stringify(result) })
    const told = Object.fromEntries(
      Object.entries(result).map(([key, value]) => [key, String(value)]),
    )
    turns.push(assistant(fill(kind.says, { ...given, ...told })))
  }
  return { name, question, turns }
}

const mostCalls = 4

export function tool(random: Random, split: Split): Sample {
  const asked = exchange(random, split, () => true)
  const others = random.some(
    kindNames.filter((other) => other !== asked.name),
    random.integer(0, 2),
  )
  const isOffered = others.length === 0 || random.chance(0.9)
  const offered = isOffered ? [asked.name, ...others] : others
  const tools = random.shuffled(offered).map(toolOf)
  const last = isOffered ? asked.turns : [asked.question, assistant(refusal)]
  // The one judged is always the last. In training the same tools are used more than once.
  const before = split === 'train' ? random.integer(0, mostCalls - 1) : 0
  const turns = Array.from({ length: before }, () =>
    random.chance(0.2)
      ? [exchange(random, split, (name) => !offered.includes(name)).question, assistant(refusal)]
      : exchange(random, split, (name) => offered.includes(name)).turns,
  )
  return { task: 'tool', language: 'en', turns: [...turns.flat(), ...last], tools }
}
