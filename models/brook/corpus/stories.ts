// Stories: beats in order, each drawn from a few sentences, about one hero, one friend, one thing
// and one place that stay the same to the end.

import type { Random } from './random.js'
import {
  assistant,
  capital,
  fill,
  filled,
  type Sample,
  type Split,
  user,
  withArticle,
} from './sample.js'
import { animals, colours, people, places, someNames, things } from './words.js'

const openings = [
  'Once upon a time there was {hero_kind} named {hero}.',
  'Once there was {hero_kind} called {hero} who lived near the {place}.',
  'There was once {hero_kind} whose name was {hero}.',
  'Long ago, {hero_kind} named {hero} lived by the {place}.',
  'Once upon a time, near the {place}, there lived {hero_kind} named {hero}.',
]
const habits = [
  '{hero} loved {possessive} {thing} more than anything.',
  'Every day {hero} took {possessive} {thing} to the {place}.',
  '{hero} had {a_thing}, and {pronoun} took it everywhere.',
  '{possessive_capital} grandmother had given {hero} {a_thing}.',
  'On {possessive} birthday {hero} got {a_thing}.',
]
const times = ['One morning', 'One day', 'One sunny day', 'One windy evening', 'One cold day']

interface Plot {
  trouble: string[]
  feeling: string[]
  meeting: string[]
  help: string[]
  end: string[]
}

const meetings = [
  'Then {hero} met {friend_kind} named {friend}.',
  'Just then {friend_kind} came along. Its name was {friend}.',
  'Near the {place} sat {friend_kind} called {friend}.',
  'Along came {friend}, {friend_kind} with a kind smile.',
]
const ends = [
  'From that day on, {hero} and {friend} were best friends.',
  '{hero} and {friend} went home together, tired and happy.',
  'And every evening after that, {hero} and {friend} played with the {thing}.',
  '{hero} never forgot what {friend} had done.',
  'That night {hero} slept well, with the {thing} beside {object}.',
]

const plots: Plot[] = [
  {
    trouble: [
      '{time} the {thing} was gone.',
      '{time} {hero} could not find the {thing} anywhere.',
      '{time} {hero} went to the {place} and lost the {thing}.',
    ],
    feeling: [
      '"Where is my {thing}?" asked {hero}. {pronoun_capital} was very sad.',
      '{hero} looked under every leaf, but the {thing} was not there.',
      '{hero} sat down and cried.',
    ],
    meeting: meetings,
    help: [
      '"Do not cry," said {friend}. "I saw the {thing} behind the old tree." They ran there, and there it was.',
      '"I will help you look," said {friend}. They looked and looked, and at last {friend} found the {thing} in the grass.',
      '"Is this your {thing}?" asked {friend}. "Yes!" said {hero}. "Thank you, {friend}!"',
    ],
    end: ends,
  },
  {
    trouble: [
      '{time} the {thing} broke.',
      '{time} {hero} fell, and the {thing} broke in two.',
      '{time} the wind threw the {thing} down, and it broke.',
    ],
    feeling: [
      '"Oh no, my {thing}!" said {hero}.',
      '{hero} did not know what to do.',
      '{hero} tried to mend it, but it was too hard.',
    ],
    meeting: meetings,
    help: [
      '"I can mend it," said {friend}. {friend} worked all day, and then the {thing} was as good as new.',
      '"Let us mend it together," said {friend}. {hero} held the {thing}, and {friend} tied it with a string.',
      '{friend} had some glue. Soon the {thing} was whole again. "Thank you," said {hero}.',
    ],
    end: ends,
  },
  {
    trouble: [
      '{time} the {thing} got stuck high up in a tree.',
      '{time} the {thing} fell into a deep hole.',
      '{time} the {thing} fell into the water near the {place}.',
    ],
    feeling: [
      '{hero} tried to reach it, but {pronoun} was too small.',
      '"I cannot get my {thing}," said {hero}.',
      '{hero} tried once, twice, three times, but it did not work.',
    ],
    meeting: meetings,
    help: [
      '"I have a long stick," said {friend}. With the stick they got the {thing} back.',
      '"Stand on my back," said {friend}. {hero} did, and soon {pronoun} held the {thing} again.',
      '{friend} brought a rope. They pulled together, and up came the {thing}.',
    ],
    end: ends,
  },
  {
    trouble: [
      '{time} {hero} went to the {place} to play with the {thing}.',
      '{time} {hero} showed the {thing} to everybody at the {place}.',
    ],
    feeling: [
      'But playing alone was no fun.',
      '"I wish I had a friend," said {hero}.',
      'Nobody wanted to play with {object}.',
    ],
    meeting: meetings,
    help: [
      '"May I play too?" asked {friend}. "Yes," said {hero}, "we can share the {thing}."',
      '"What a nice {thing}!" said {friend}. {hero} gave it to {friend} for a while, and they both laughed.',
      '{friend} had no toys at all, so {hero} shared the {thing}. They played until the sun went down.',
    ],
    end: ends,
  },
  {
    trouble: [
      '{time} a big storm came to the {place}.',
      '{time} it grew dark, and {hero} lost the way home.',
      '{time} there was so much snow that {hero} could not see the path.',
    ],
    feeling: [
      '{hero} held the {thing} tight and was afraid.',
      '"How do I get home?" asked {hero}.',
      '{hero} called and called, but nobody answered.',
    ],
    meeting: meetings,
    help: [
      '"Come with me," said {friend}. "My house is dry and warm." They waited there until morning.',
      '"I know the way," said {friend}. They walked side by side, and the {thing} did not get lost.',
      '{friend} lit a small fire, and they told stories until the sky was clear again.',
    ],
    end: ends,
  },
]

const requests = [
  'Tell me a story about {hero} and {a_thing}.',
  'Write a short story about {hero_kind} named {hero} and {a_thing}.',
  'I would like to hear a story about {hero}, {hero_kind}, and a friend named {friend}. There should be {a_thing} in it.',
  'Can you tell me a story? It should be about {hero} and {friend}, at the {place}, with {a_thing}.',
]

export interface StoryValues {
  hero: string
  friend: string
  heroKind: string
  friendKind: string
  colour: string
  thing: string
  place: string
  isShe: boolean
}

const cast = (random: Random) => {
  const [hero = '', friend = ''] = someNames(random, 2)
  const heroKind = random.pick(random.chance(0.5) ? people : animals)
  const values: StoryValues = {
    hero,
    friend,
    heroKind,
    friendKind: random.pick(animals.filter((kind) => kind !== heroKind)),
    colour: random.pick(colours),
    thing: random.pick(things),
    place: random.pick(places),
    isShe: heroKind === 'girl' || (heroKind !== 'boy' && random.chance(0.5)),
  }
  return { values, pair: `${values.colour} ${values.thing}` }
}

export function tell(random: Random, values: StoryValues): string {
  const { hero, friend, heroKind, friendKind, colour, thing, place, isShe } = values
  const slots = {
    hero,
    friend,
    place,
    thing: `${colour} ${thing}`,
    hero_kind: withArticle(heroKind),
    friend_kind: withArticle(friendKind),
    a_thing: withArticle(`${colour} ${thing}`),
    time: random.pick(times),
    pronoun: isShe ? 'she' : 'he',
    pronoun_capital: isShe ? 'She' : 'He',
    possessive: isShe ? 'her' : 'his',
    possessive_capital: isShe ? 'Her' : 'His',
    object: isShe ? 'her' : 'him',
  }
  const plot = random.pick(plots)
  const beats = [openings, habits, plot.trouble, plot.feeling, plot.meeting, plot.help, plot.end]
  return beats.map((beat) => fill(random.pick(beat), slots)).join(' ')
}

export function story(random: Random, split: Split): Sample {
  const values = filled(random, split, cast)
  const text = tell(random, values)
  const { hero, friend, heroKind, colour, thing, place } = values
  const facts = { names: [hero, friend], thing: `${colour} ${thing}` }
  if (random.chance(0.4)) return { task: 'story', language: 'en', turns: [], text, facts }
  const request = fill(random.pick(requests), {
    hero,
    friend,
    place,
    hero_kind: withArticle(heroKind),
    a_thing: withArticle(`${colour} ${thing}`),
  })
  return {
    task: 'story',
    language: 'en',
    turns: [user(capital(request)), assistant(text)],
    facts,
  }
}
