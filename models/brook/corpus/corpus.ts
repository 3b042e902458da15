// The mixture: one sample after another, the same for the same seed and split.

import { chat } from './chat.js'
import { chinesePassage, chineseStory } from './chinese.js'
import { list } from './lists.js'
import { count, sum } from './numbers.js'
import { passage } from './passages.js'
import { Random } from './random.js'
import { record } from './records.js'
import type { Sample, Split } from './sample.js'
import { story } from './stories.js'
import { tool } from './tools.js'

type Make = (random: Random, split: Split) => Sample

/** In training, up to `most` questions of a kind one after another; the last one is the sample's. */
const several =
  (most: number, make: Make): Make =>
  (random, split) => {
    const n = split === 'train' ? random.integer(1, most) : 1
    const samples = Array.from({ length: n }, () => make(random, split))
    const last = samples.at(-1) ?? make(random, split)
    return { ...last, turns: samples.flatMap(({ turns }) => turns) }
  }

const makers = {
  story,
  passage,
  record: several(3, record),
  tool,
  list: several(4, list),
  sum: several(8, (random, split) => sum(random, split, 'en')),
  count: several(4, (random, split) => count(random, split, 'en')),
  chat: (random) => chat(random, 'en'),
  chineseStory,
  chinesePassage,
  chineseSum: several(8, (random, split) => sum(random, split, 'zh')),
  chineseChat: (random) => chat(random, 'zh'),
} satisfies Record<string, Make>
type Kind = keyof typeof makers

/** Shares of samples, in hundredths. */
const mixtures = {
  main: {
    story: 11,
    passage: 20,
    record: 14,
    tool: 10,
    list: 17,
    sum: 13,
    count: 3,
    chat: 2,
    chineseStory: 2,
    chinesePassage: 4,
    chineseSum: 3,
    chineseChat: 1,
  },
  /** Where a run goes on from a model that knows the rest: what is learned last. */
  last: {
    story: 5,
    passage: 38,
    record: 6,
    tool: 12,
    list: 6,
    sum: 13,
    count: 3,
    chat: 1,
    chineseStory: 1,
    chinesePassage: 11,
    chineseSum: 3,
    chineseChat: 1,
  },
  /** For the decay of the learning rate: of everything, and more of what is learned last. */
  even: {
    story: 8,
    passage: 26,
    record: 13,
    tool: 9,
    list: 14,
    sum: 13,
    count: 3,
    chat: 1,
    chineseStory: 1,
    chinesePassage: 8,
    chineseSum: 3,
    chineseChat: 1,
  },
} satisfies Record<string, Record<Kind, number>>
export type Mixture = keyof typeof mixtures

export const isMixture = (name: string): name is Mixture => name in mixtures

for (const [name, shares] of Object.entries(mixtures)) {
  const sum = Object.values(shares).reduce((all, share) => all + share, 0)
  if (sum !== 100) throw new Error(`Expected the shares of "${name}" to be 100 but found ${sum}`)
}

/** Endless, from sample `first` on; sample i depends on seed, split, mixture and i alone. */
export function* corpus(
  seed: string,
  split: Split,
  mixture: Mixture = 'main',
  first = 0,
): Generator<Sample, never> {
  const shares = Object.entries(mixtures[mixture]) as [Kind, number][]
  for (let i = first; ; i++) {
    const random = new Random(`${seed} ${split} ${i}`)
    let share = random.number() * 100
    const chosen = shares.find(([, part]) => {
      share -= part
      return share < 0
    })
    yield makers[chosen?.[0] ?? 'story'](random, split)
  }
}
