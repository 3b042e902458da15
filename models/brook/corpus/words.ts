// The words that fill the templates.

import type { Random } from './random.js'

const words = (text: string): string[] => text.trim().split(/\s+/)
const lines = (text: string): string[] => text.trim().split(/\s*,\s*/)

const firsts = words('Ma Lo Ti Ne Ru Ka So Be Di Fa Gi Jo Pe Vi Wa Zu')
const seconds = words('ra li no ta mi lan na ki ro sa ben da vin mo lis nor')

/** Of two syllables: nobody's in particular, easy to say. */
export const names = firsts.flatMap((first) => seconds.map((second) => first + second))

const consonants = words('b d f g h j k l m n p r s t v w z br dr fl gr kl pl sh st th tr')
const vowels = words('a e i o u ai ea ee oo ou')
const closings = words('l m n r s t x')

/** A word never heard before: what matters is to say it back. */
export function inventedWord(random: Random): string {
  const syllables = Array.from(
    { length: random.integer(1, 3) },
    () => random.pick(consonants) + random.pick(vowels),
  )
  return syllables.join('') + random.pick(closings)
}

export function inventedName(random: Random): string {
  const name = inventedWord(random)
  return name.charAt(0).toUpperCase() + name.slice(1)
}

export const someName = (random: Random): string =>
  random.chance(0.25) ? inventedName(random) : random.pick(names)

/** n different names. */
export function someNames(random: Random, n: number): string[] {
  const out = new Set<string>()
  while (out.size < n) out.add(someName(random))
  return [...out]
}

export const colours = words(
  'red blue green yellow white black brown pink orange purple grey golden',
)
export const things = words(`kite ball boat drum lamp book hat cup box key bell shell stone coin map
  scarf basket ribbon whistle mirror candle button feather spoon blanket clock flute rope ladder
  wagon puppet lantern`)
export const animals = words(`cat dog fox bear rabbit mouse duck frog horse owl hen goat pig sheep
  squirrel turtle hedgehog otter crow donkey`)
export const people = words('girl boy farmer baker sailor gardener painter shepherd')
export const places = lines(`garden, forest, park, village, beach, market, farm, meadow, harbour,
  school, kitchen, barn, river, hill, lake, field, castle, library, attic, mill`)
export const foods = lines(`apples, bread, soup, cheese, rice, pears, honey, nuts, cake, plums,
  carrots, beans, berries, noodles, grapes, corn`)
export const cities = words(`Oslo Lima Cairo Rome Paris Tokyo Delhi Quito Hanoi Dakar Milan Turin
  Bergen Porto Lyon Leeds Perth Osaka Kyoto Accra Tunis Sofia Riga Prague`)
export const jobs = words(`teacher doctor pilot cook farmer singer painter nurse driver baker writer
  tailor dentist sailor builder`)
export const hobbies = words(`reading swimming painting singing dancing fishing running cooking
  sewing climbing skating knitting`)
export const days = words('Monday Tuesday Wednesday Thursday Friday Saturday Sunday')
/** For lists: short nouns with few shared beginnings. */
export const listWords = words(`ant bag cow den egg fan gate hat ink jar kite leaf moon nest oak pot
  queen rose sun tree urn van well yard zoo arm bed cup door ear fish goat hill ice jam king lamp
  milk net owl pen rain ship toy wall bell corn drum fork`)
