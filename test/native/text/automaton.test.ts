import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { textProbe } from '../../support/vocabulary.js'

// The same dialect for JavaScript: Unicode white space for \s, ASCII for \d, no "~" among symbols.
function toJavaScript(pattern: string): RegExp {
  let out = ''
  let inClass = false
  for (let i = 0; i < pattern.length; i++) {
    const rest = pattern.slice(i)
    const take = (from: string, inside: string, outside = `[${inside}]`): boolean => {
      if (!rest.startsWith(from)) return false
      out += inClass ? inside : outside
      i += from.length - 1
      return true
    }
    if (take('\\s', '\\p{White_Space}') || take('\\S', '\\P{White_Space}')) continue
    if (take('\\p{S}', '[\\p{S}--[~]]', '[\\p{S}--[~]]') || take('\\d', '0-9')) continue
    const code = /^\\x\{([0-9A-F]+)\}/.exec(rest)
    if (code) {
      out += `\\u{${code[1]}}`
      i += code[0].length - 1
      continue
    }
    const folded = /^\(\?i:([^)]*)\)/.exec(rest)
    if (folded) {
      const body = (folded[1] ?? '').replace(/\[([a-z]+)\]|[a-z]/g, (match, letters?: string) => {
        const all = letters ?? match
        return `[${all}${all.toUpperCase()}]`
      })
      out += `(?:${body})`
      i += folded[0].length - 1
      continue
    }
    const character = pattern[i] as string
    if (character === '\\') {
      out += rest.slice(0, rest.startsWith('\\p{') ? 5 : 2)
      i += rest.startsWith('\\p{') ? 4 : 1
      continue
    }
    if (inClass && '()[{}/|'.includes(character)) out += `\\${character}`
    else if (inClass && character === '-' && isLiteralDash(pattern, i)) out += '\\-'
    else if (inClass && '!#$%&*+,.:;<=>?@^`~'.includes(character) && out.at(-1) === character) {
      out += `\\${character}` // two of these side by side are an operator in a v-mode class
    } else out += character
    if (character === '[') inClass = true
    if (character === ']') inClass = false
  }
  return new RegExp(out, 'gv')
}

const isLiteralDash = (pattern: string, at: number): boolean => pattern[at + 1] === ']'

function javaScriptMatches(regex: RegExp, text: string): number[] {
  const out: number[] = []
  for (const match of text.matchAll(regex)) {
    const begin = Buffer.byteLength(text.slice(0, match.index))
    out.push(begin, begin + Buffer.byteLength(match[0]))
  }
  return out
}

// Characters that the patterns tell apart, plus arbitrary ones.
const character = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(...'aAzZsStTmMdDrReEvVlL', ' ', ' ', "'", '\n', '\r', '\t'),
  },
  { weight: 3, arbitrary: fc.constantFrom(...'0123456789²٣½!?.,-/~$+_()[]{}|<>=^`') },
  {
    weight: 3,
    arbitrary: fc.constantFrom(...'éßжЖǅʰ中文日ひカ한𠀀ต้́̈।…、。', '\u00a0', '\u3000', '\u0085'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom('\u0000', '\u200d', '\ufeff', '\u{1f600}', '\ue000', '\u0378'),
  },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }) },
)
const sentence = fc
  .array(
    fc.oneof(
      character,
      fc.tuple(character, fc.integer({ min: 1, max: 12 })).map(([c, n]) => c.repeat(n)),
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.join(''))

const patterns = new Map<string, string>()
for (const name of textProbe.preTokenizerNames())
  for (const pass of textProbe.preTokenizerPasses(name))
    if (!patterns.has(pass.pattern)) patterns.set(pass.pattern, name)

describe('Automaton', () => {
  it('has a row of patterns for more than sixty pre-tokenizers', () => {
    expect(textProbe.preTokenizerNames().length).toBeGreaterThan(60)
    expect(patterns.size).toBeGreaterThan(25)
  })

  for (const [pattern, name] of patterns)
    it(`finds what a backtracking matcher finds: ${pattern.slice(0, 48)} of ${name}`, () => {
      const regex = toJavaScript(pattern)
      fc.assert(
        fc.property(sentence, (text) => {
          const found = textProbe.patternMatches(pattern, Buffer.from(text))
          expect([...found], JSON.stringify(text)).toEqual(javaScriptMatches(regex, text))
        }),
        { numRuns: 300 },
      )
    })

  it.each([
    ['a*', 'matches nothing'],
    ['(a', "')' expected"],
    ['a)', "unexpected ')'"],
    ['[a', "']' expected"],
    ['\\q', 'escape'],
    ['a{3,1}', 'counted repetition'],
    ['(?=ab)c', 'one character'],
    ['\\x{110000}', 'code point'],
  ])('refuses %s', (pattern, reason) => {
    expect(() => textProbe.patternMatches(pattern, Buffer.from('a'))).toThrow(reason)
  })

  it('walks a long run once, however many searches fail in it', () => {
    const time = (length: number): number => {
      const text = Buffer.from(`${' '.repeat(length)}a`)
      const begin = performance.now()
      textProbe.patternMatches('\\s+$', text)
      return performance.now() - begin
    }
    time(1000)
    expect(time(400_000)).toBeLessThan(2000) // quadratic would be 80 billion steps
  })
})
