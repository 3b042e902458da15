import { describe, expect, it } from 'vitest'
import { textProbe } from '../../support/vocabulary.js'

const words = (name: string, text: string): string[] => {
  const bytes = Buffer.from(text)
  let begin = 0
  return Array.from(textProbe.preTokenizerSplit(name, bytes).ends, (end) => {
    const word = bytes.subarray(begin, end).toString('utf8')
    begin = end
    return word
  })
}

describe('PreTokenizer', () => {
  it('covers the text with words, whatever the row', () => {
    const text = "I'll take 12345 of\r\n\r\n  these — 中文 и ~tilde~, can't you?  \t\n🙂 end   "
    for (const name of textProbe.preTokenizerNames())
      expect(words(name, text).join(''), name).toBe(text)
  })

  it('groups digits by three from the left or one by one', () => {
    expect(words('llama-bpe', '1234567')).toEqual(['123', '456', '7'])
    expect(words('qwen2', '123')).toEqual(['1', '2', '3'])
  })

  it('groups digits by three from the right where the row says so', () => {
    expect(words('superbpe', 'ab 1234567')).toEqual(['ab ', '1', '234', '567'])
    expect(words('afmoe', '1234567')).toEqual(['1', '234', '567'])
    expect(words('tiny_aya', '12345 apples')).toEqual(['12', '345', ' apples'])
  })

  it('keeps a contraction with its word where the row says so', () => {
    expect(words('gpt-4o', "don't")).toEqual(["don't"])
    expect(words('gpt-2', "don't")).toEqual(['don', "'t"])
    expect(words('llama-bpe', "DON'T")).toEqual(['DON', "'T"])
  })

  it('cuts Han characters from other letters in kimi-k2', () => {
    expect(words('kimi-k2', 'hello中文world')).toEqual(['hello', '中文', 'world'])
  })

  it('refuses a name that nobody knows with the list of the known ones', () => {
    expect(() => words('gpt-9', 'a')).toThrow(/found "gpt-9".*llama-bpe.*qwen2/)
    try {
      words('gpt-9', 'a')
    } catch (error) {
      expect((error as { code?: string }).code).toBe('unsupported')
    }
  })

  it('takes the empty name as "default"', () => {
    expect(words('', 'a b')).toEqual(words('default', 'a b'))
  })

  // One name of each row that splits differently.
  const rows = new Map(
    textProbe
      .preTokenizerNames()
      .map((name) => [JSON.stringify(textProbe.preTokenizerPasses(name)), name]),
  )
  const unit = 100_000
  const runs: [string, string][] = [
    ['a', 'a'],
    ['space', ' '],
    ['newline', '\n'],
    ['digit', '7'],
    ['emoji', '🙂'],
    ['apostrophe', "'"],
    ['Han', '中'],
  ]
  for (const [label, character] of runs)
    it(`takes linear time on 400 kB of one character: ${label}`, () => {
      const slow: string[] = []
      for (const name of rows.values()) {
        const time = (bytes: number): number => {
          const text = Buffer.from(`${character.repeat(bytes / Buffer.byteLength(character))}x`)
          return textProbe.preTokenizerSplit(name, text).ms
        }
        const small = time(unit)
        const large = time(4 * unit)
        if (large > 150 && large > 10 * small) slow.push(`${name}: ${small} ms, then ${large} ms`)
        if (large > 1500) slow.push(`${name}: ${large} ms`)
      }
      expect(slow).toEqual([])
    })
})
