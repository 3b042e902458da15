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

// Shares of samples, in hundredths.
const mixture: [number, Make][] = [
  [11, story],
  [20, passage],
  [14, several(3, record)],
  [10, tool],
  [17, several(4, list)],
  [13, several(8, (random, split) => sum(random, split, 'en'))],
  [3, several(4, (random, split) => count(random, split, 'en'))],
  [2, (random) => chat(random, 'en')],
  [2, chineseStory],
  [4, chinesePassage],
  [3, several(8, (random, split) => sum(random, split, 'zh'))],
  [1, (random) => chat(random, 'zh')],
]

/** Endless; sample i depends on seed, split and i alone. */
export function* corpus(seed: string, split: Split): Generator<Sample, never> {
  for (let i = 0; ; i++) {
    const random = new Random(`${seed} ${split} ${i}`)
    let share = random.number() * 100
    const chosen = mixture.find(([part]) => {
      share -= part
      return share < 0
    })
    yield (chosen?.[1] ?? story)(random, split)
  }
}
