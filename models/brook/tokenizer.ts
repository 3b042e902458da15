// Trains a byte-level BPE vocabulary (Sennrich et al. 2016; bytes as letters as in GPT-2) on texts.
// Words are cut as the pre-tokenizer "qwen2" cuts them, so that the library encodes with the same
// pieces. The most frequent pair wins, the first seen among equals.

/** Tokens that are not learned: the first ends a text, <|im_end|> a turn. */
export const specialTokens = [
  '<|endoftext|>',
  '<|im_start|>',
  '<|im_end|>',
  '<tool_call>',
  '</tool_call>',
  '<tool_response>',
  '</tool_response>',
] as const

export interface Vocabulary {
  /** In GPT-2's letters for bytes, special tokens last. */
  tokens: string[]
  /** "left right", most important first. */
  merges: string[]
}

const wordPattern =
  /'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL]{2}|[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/gu

/** GPT-2's letter for each byte: printable ones stand for themselves. */
function byteLetters(): string[] {
  const isPrintable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let next = 256
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(isPrintable(byte) ? byte : next++),
  )
}

interface Word {
  symbols: number[]
  count: number
}

function countedWords(texts: Iterable<string>): Word[] {
  const counts = new Map<string, number>()
  for (const text of texts) {
    for (const [word] of text.matchAll(wordPattern)) counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  return [...counts].map(([word, count]) => ({ symbols: [...Buffer.from(word)], count }))
}

const most = 2 ** 16
const pairKey = (left: number, right: number): number => left * most + right

/** The pairs of the words that hold them, with their counts. */
class Pairs {
  readonly counts = new Map<number, number>()
  readonly #where = new Map<number, Set<Word>>()

  add(word: Word, sign: 1 | -1): void {
    const { symbols, count } = word
    for (let i = 0; i + 1 < symbols.length; i++) {
      const key = pairKey(symbols[i] as number, symbols[i + 1] as number)
      this.counts.set(key, (this.counts.get(key) ?? 0) + sign * count)
      const words = this.#where.get(key) ?? new Set()
      this.#where.set(key, words)
      words.add(word)
    }
  }

  best(): number | undefined {
    let found: number | undefined
    let highest = 1
    for (const [key, count] of this.counts) {
      if (count > highest) [found, highest] = [key, count]
    }
    return found
  }

  wordsOf(key: number): Word[] {
    return [...(this.#where.get(key) ?? [])]
  }
}

function merged(symbols: number[], key: number, by: number): number[] {
  const out: number[] = []
  for (let i = 0; i < symbols.length; i++) {
    const isPair =
      i + 1 < symbols.length && pairKey(symbols[i] as number, symbols[i + 1] as number) === key
    out.push(isPair ? by : (symbols[i] as number))
    if (isPair) i++
  }
  return out
}

// Longer than a few characters, pieces of Chinese would be pieces of our templates.
const mostWideBytes = 9

/** A vocabulary of exactly `size` tokens. */
export function trainTokenizer(texts: Iterable<string>, size: number): Vocabulary {
  const tokens = byteLetters()
  const isWide = tokens.map((_, byte) => byte >= 128)
  const merges: string[] = []
  const pairs = new Pairs()
  for (const word of countedWords(texts)) pairs.add(word, 1)
  while (tokens.length + specialTokens.length < size) {
    const key = pairs.best()
    if (key === undefined) throw new Error(`Expected ${size} tokens but found ${tokens.length}`)
    const [first, second] = [Math.floor(key / most), key % most]
    const [left = '', right = ''] = [tokens[first], tokens[second]]
    const wide = isWide[first] === true || isWide[second] === true
    if (wide && left.length + right.length > mostWideBytes) {
      pairs.counts.delete(key)
      continue
    }
    for (const word of pairs.wordsOf(key)) {
      pairs.add(word, -1)
      word.symbols = merged(word.symbols, key, tokens.length)
      pairs.add(word, 1)
    }
    pairs.counts.delete(key)
    tokens.push(left + right)
    isWide.push(wide)
    merges.push(`${left} ${right}`)
  }
  return { tokens: [...tokens, ...specialTokens], merges }
}
