import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { isSanitized } from '../../support/sanitized.js'
import {
  hasShared,
  sharedBytes,
  sharedFolder,
  sharedJson,
  sharedPath,
} from '../../support/shared.js'
import {
  packStrings,
  type TokenizerHandle,
  textProbe,
  type VocabularyInput,
  vocabularyOf,
} from '../../support/vocabulary.js'

interface GoldenCase {
  text_b64: string
  add_special: boolean
  parse_special: boolean
  ids: (number | [number, number])[]
  decoded_b64?: string
  own_test_file?: boolean
}

const open = (name: string): TokenizerHandle =>
  textProbe.tokenizerCreate(vocabularyOf(sharedBytes(name))).handle

const expand = (ids: GoldenCase['ids']): number[] =>
  ids.flatMap((id) => (typeof id === 'number' ? [id] : Array<number>(id[1]).fill(id[0])))

const goldenNames = hasShared
  ? readdirSync(sharedPath('golden/tokenizer'))
      .filter((name) => name.endsWith('.json.gz'))
      .map((name) => name.replace('.json.gz', ''))
  : []

describe.skipIf(!hasShared)('Tokenizer against the reference vectors', () => {
  it('finds the twelve vocabularies', () => {
    expect(goldenNames).toHaveLength(12)
  })

  for (const name of goldenNames) {
    it(`encodes and decodes every case of ${name} as the reference does`, () => {
      const handle = open(`golden/tokenizer/${name}.vocab.gguf.gz`)
      const { cases } = sharedJson<{ cases: GoldenCase[] }>(`golden/tokenizer/${name}.json.gz`)
      const wrong: string[] = []
      for (const [index, test] of cases.entries()) {
        const text = Buffer.from(test.text_b64, 'base64')
        const ids = expand(test.ids)
        const got = textProbe.tokenizerEncode(handle, text, test.add_special, test.parse_special)
        const label = `case ${index} ${JSON.stringify(text.subarray(0, 60).toString('latin1'))}`
        if (ids.length !== got.length || ids.some((id, i) => id !== got[i]))
          wrong.push(`${label}: ids ${got.slice(0, 12)} instead of ${ids.slice(0, 12)}`)
        if (test.own_test_file) continue // the reference's own tests give ids only
        const decoded =
          test.decoded_b64 === undefined ? text : Buffer.from(test.decoded_b64, 'base64')
        const back = textProbe.tokenizerDecode(handle, Int32Array.from(ids), true, true)
        if (!decoded.equals(back))
          wrong.push(`${label}: decodes to ${JSON.stringify(Buffer.from(back).toString('latin1'))}`)
      }
      expect(wrong).toEqual([])
      expect(cases.length).toBeGreaterThan(200)
    })
  }
})

const vocabularyFolder = sharedFolder ? sharedPath('data/tokenizers/llama.cpp-vocab') : ''
const withVectors =
  vocabularyFolder && existsSync(vocabularyFolder)
    ? readdirSync(vocabularyFolder).filter(
        (name) => name.endsWith('.gguf') && existsSync(`${vocabularyFolder}/${name}.inp`),
      )
    : []

describe.skipIf(withVectors.length === 0)('Tokenizer against the published test vectors', () => {
  for (const name of withVectors) {
    it(`encodes every line of ${name}.inp`, () => {
      const base = `data/tokenizers/llama.cpp-vocab/${name}`
      const handle = open(base)
      const texts = sharedBytes(`${base}.inp`).toString('utf8').split('\n__ggml_vocab_test__\n')
      const lines = sharedBytes(`${base}.out`).toString('utf8').split('\n')
      expect(texts.length).toBeGreaterThan(20)
      for (const [i, text] of texts.entries()) {
        const wanted = (lines[i] ?? '').trim().split(/\s+/).filter(Boolean).map(Number)
        const got = textProbe.tokenizerEncode(handle, Buffer.from(text), false, false)
        expect([...got], JSON.stringify(text)).toEqual(wanted)
      }
    })
  }
})

const megabyteOf = (character: string | number, bytes: number): Buffer =>
  typeof character === 'number'
    ? Buffer.alloc(bytes, character)
    : Buffer.from(character.repeat(bytes / Buffer.byteLength(character)))

describe.skipIf(!hasShared || isSanitized)('Tokenizer on a megabyte of one character', () => {
  for (const name of ['llama-spm', 'qwen2', 'deepseek-coder', 'bert-bge'])
    it(`takes linear time with ${name}`, () => {
      const handle = open(`golden/tokenizer/${name}.vocab.gguf.gz`)
      const slow: string[] = []
      for (const character of ['a', ' ', '\n', '🙂', 0xff]) {
        const time = (bytes: number): number =>
          textProbe.tokenizerTime(handle, megabyteOf(character, bytes)).ms
        // Linear is 4; a heap's logarithm and caches add a little, a square would make it 16. What
        // other programs add is not there every time, nor to one of the two alone.
        const ratio = (): string | undefined => {
          const [small, large] = [time(250_000), time(1_000_000)]
          return large > 9 * small + 50 ? `${character}: ${small} ms, then ${large} ms` : undefined
        }
        const found = ratio() && ratio() && ratio()
        if (found) slow.push(found)
      }
      expect(slow).toEqual([])
    })
})

describe('Tokenizer from plain data', () => {
  const texts = ['<unk>', '<s>', '</s>', '<|im_end|>', '▁', 'a', 'b', '▁a', 'ab', '<|mark|>']
  const kinds = [2, 3, 3, 3, 1, 1, 1, 1, 1, 4]
  const spm = (change: Partial<VocabularyInput> = {}) =>
    textProbe.tokenizerCreate({
      algorithm: 'spm',
      texts: packStrings(texts),
      kinds: Int32Array.from(kinds),
      scores: Float32Array.from([0, 0, 0, 0, -9, -9, -9, -1, -2, 0]),
      ...change,
    })
  const encode = (handle: TokenizerHandle, text: string, special = true, parse = false) => [
    ...textProbe.tokenizerEncode(handle, Buffer.from(text), special, parse),
  ]

  it('adds BOS when asked for special tokens and the space that the vocabulary wants', () => {
    const { handle, bos } = spm()
    expect(bos).toBe(1)
    expect(encode(handle, 'a')).toEqual([1, 7])
    expect(encode(handle, 'a', false)).toEqual([7])
    expect(encode(spm({ addSpacePrefix: false, addBos: false }).handle, 'a')).toEqual([5])
    expect(encode(spm({ addEos: true }).handle, 'a')).toEqual([1, 7, 2])
  })

  it('reads the text of a control token as that token only when asked', () => {
    const { handle } = spm()
    expect(encode(handle, 'a</s>a', false, true)).toEqual([7, 2, 7])
    expect(encode(handle, 'a</s>a', false, false)).not.toContain(2)
  })

  it('reads the text of a user-defined token always', () => {
    expect(encode(spm().handle, 'a<|mark|>', false, false)).toEqual([7, 9])
  })

  it('ends with EOS and with the tokens that are known to end a turn', () => {
    expect([...spm().ends]).toEqual([2, 3])
  })

  it('gives the bytes of a token, and none outside the vocabulary', () => {
    const { handle } = spm()
    const piece = (id: number) => Buffer.from(textProbe.tokenizerPiece(handle, id)).toString()
    expect([piece(7), piece(1), piece(-1), piece(99)]).toEqual([' a', '<s>', '', ''])
  })

  it('leaves control tokens out of decoded text when asked', () => {
    const { handle } = spm()
    const decode = (special: boolean) =>
      Buffer.from(
        textProbe.tokenizerDecode(handle, Int32Array.from([7, 2, 5]), special, false),
      ).toString()
    expect([decode(true), decode(false)]).toEqual(['a</s>a', 'aa'])
  })

  it('gives the text back when BOS and the added space are left out', () => {
    const { handle } = spm()
    const ids = Int32Array.from(encode(handle, 'ab a'))
    const decode = (special: boolean) =>
      Buffer.from(textProbe.tokenizerDecode(handle, ids, special, false)).toString()
    expect([decode(true), decode(false)]).toEqual(['<s> ab a', 'ab a'])
  })

  it('merges the lowest rank first and the leftmost of equals', () => {
    const { handle } = textProbe.tokenizerCreate({
      algorithm: 'bpe',
      pre: 'gpt-2',
      texts: packStrings(['a', 'b', 'c', 'ab', 'bc', 'aa', 'aab']),
      merges: packStrings(['b c', 'a a', 'a b', 'aa b']),
    })
    expect(encode(handle, 'abc', false)).toEqual([0, 4])
    expect(encode(handle, 'aaa', false)).toEqual([5, 0])
    expect(encode(handle, 'aab', false)).toEqual([6])
  })

  it('refuses merges, lists and names that make no sense, saying which', () => {
    const bpe = (change: Partial<VocabularyInput>) => () =>
      textProbe.tokenizerCreate({
        algorithm: 'bpe',
        pre: 'gpt-2',
        texts: packStrings(['a', 'b']),
        ...change,
      })
    expect(bpe({ merges: packStrings(['ab']) })).toThrow('tokenizer.ggml.merges[0]')
    expect(bpe({ merges: packStrings(['a b', 'a ']) })).toThrow('tokenizer.ggml.merges[1]')
    expect(bpe({ kinds: Int32Array.from([1]) })).toThrow('2 tokens')
    expect(bpe({ texts: packStrings([]) })).toThrow('at least one token')
    expect(bpe({ pre: 'nobody' })).toThrow('nobody')
  })
})

// Byte-pair encoding as it is defined, on random vocabularies.
describe('Byte-pair encoding', () => {
  let state = 12345
  const random = (n: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * n)
  }
  const pick = (from: readonly string[]): string => from[random(from.length)] ?? ''
  const shuffled = (from: readonly string[]): string[] =>
    from
      .map((value) => ({ value, order: random(1e6) }))
      .sort((a, b) => a.order - b.order)
      .map(({ value }) => value)

  /** `symbols`: the texts to begin with; `first`: the merges of the lowest ranks. */
  const randomVocabulary = (symbols: readonly string[], first: readonly string[], size: number) => {
    const texts = [...symbols]
    const ranks = new Map<string, number>()
    const add = (left: string, right: string): void => {
      if (ranks.has(`${left} ${right}`) || left.length + right.length > 12) return
      ranks.set(`${left} ${right}`, ranks.size)
      if (!texts.includes(left + right)) texts.push(left + right)
    }
    for (const merge of first) {
      const [left = '', right = ''] = merge.split(' ')
      add(left, right)
    }
    while (ranks.size < size) add(pick(texts), pick(texts))
    const naive = (word: readonly string[]): string[] => {
      const parts = [...word]
      for (;;) {
        let best = -1
        let lowest = Number.POSITIVE_INFINITY
        for (let i = 0; i + 1 < parts.length; i++) {
          const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? lowest
          if (rank < lowest) [best, lowest] = [i, rank]
        }
        if (best < 0) return parts
        parts.splice(best, 2, `${parts[best]}${parts[best + 1]}`)
      }
    }
    const { handle } = textProbe.tokenizerCreate({
      algorithm: 'bpe',
      pre: 'gpt-2',
      texts: packStrings(texts),
      merges: packStrings([...ranks.keys()]),
    })
    const encode = (text: string): (string | undefined)[] =>
      Array.from(
        textProbe.tokenizerEncode(handle, Buffer.from(text), false, false),
        (id) => texts[id],
      )
    return { naive, encode }
  }

  const letters = ['a', 'b', 'c', 'd', 'e']
  const ascii = randomVocabulary(letters, [], 80)
  it.each([1, 2, 3, 15, 16, 17, 18, 64, 126, 127, 128, 129, 130, 400])(
    'merges words of %d letters as its definition does',
    (length) => {
      for (let i = 0; i < 50; i++) {
        const word = Array.from({ length }, () => pick(letters)).join('')
        expect(ascii.encode(word)).toEqual(ascii.naive([...word]))
      }
    },
  )

  // In the byte-level alphabet: their bytes overlap, so merges across their edges abound.
  const characters = { a: 'a', é: 'Ã©', è: 'Ã¨', 中: 'ä¸Ń', 丸: 'ä¸¸', 举: 'ä¸¾', 国: 'åĽ½' }
  const low = [
    'a ä',
    'a Ã',
    'ä ¸',
    'Ã ©',
    'ä¸ Ń',
    'å Ľ',
    'åĽ ½',
    'ä¸ ¸',
    '¸ ¾',
    'Ľ ½',
    'Ã ¨',
    '¸ Ń',
    'ä ¸¾',
  ]
  it('merges characters of several bytes as its definition does, whatever crosses their edges', () => {
    const texts = Object.keys(characters) as (keyof typeof characters)[]
    const symbols = [...new Set(Object.values(characters).join(''))]
    for (let round = 0; round < 150; round++) {
      const first = shuffled(low.filter(() => random(4) > 0))
      const { encode, naive } = randomVocabulary(symbols, first, first.length + random(40))
      for (let i = 0; i < 20; i++) {
        const word = Array.from(
          { length: 1 + random(12) },
          () => texts[random(texts.length)] ?? 'a',
        )
        const bytes = word.map((character) => characters[character]).join('')
        expect(encode(word.join('')), word.join('')).toEqual(naive([...bytes]))
      }
    }
  })
})
