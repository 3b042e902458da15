import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { coded } from '../../support/model-file.js'
import { probe } from '../../support/probe.js'

const { parseJson } = probe<{ parseJson(bytes: Uint8Array): unknown }>()
const parse = (text: string | Uint8Array) => parseJson(Buffer.from(text as string))

describe('the JSON reader', () => {
  test('reads back whatever JSON.stringify writes, plain or indented', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value)
        expect(parse(text)).toEqual(JSON.parse(text))
        expect(parse(JSON.stringify(value, null, '\t'))).toEqual(JSON.parse(text))
      }),
    )
  })

  test('accepts nothing that JSON.parse refuses', () => {
    const texts = fc.string({ unit: fc.constantFrom(...'{}[]",:.0123-+eE tfnrualse\\/\n') })
    fc.assert(
      fc.property(texts, (text) => {
        try {
          JSON.parse(text)
        } catch {
          expect(() => parse(text)).toThrow(coded('bad-file'))
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('reads every escape, and surrogates in pairs', () => {
    expect(parse('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00"')).toBe('"\\/\b\f\n\r\té😀')
  })

  test('reads numbers to the nearest double', () => {
    const numbers = '[0, -0.5, 1e3, 2.5E-3, 1e+2, 1e-400, 9007199254740993]'
    expect(parse(numbers)).toEqual(JSON.parse(numbers))
  })

  test('says where the first mistake is and what was expected', () => {
    const wrong = (text: string | Uint8Array, ...words: string[]) =>
      expect(() => parse(text)).toThrow(coded('bad-file', ...words))
    wrong('', 'a value', 'line 1, column 1')
    wrong('{"a": 1,\n  b: 2}', 'a key in quotes', 'line 2, column 3')
    wrong('[1 2]', 'a comma or a closing bracket')
    wrong('{"a" 1}', 'a colon')
    wrong('{"a":1 "b":2}', 'a comma or a closing brace')
    wrong('[01]', 'leading zeros', 'column 2')
    wrong('[-]', 'a value')
    wrong('[1.]', 'digits after the point')
    wrong('[1e]', 'an exponent')
    wrong('[1e999]', 'range')
    wrong('"open', 'a closing quote')
    wrong('"\n"', 'no control character')
    wrong('"\\x"', 'an escape')
    wrong('"\\u12g4"', 'four hexadecimal')
    wrong('"\\ud800"', 'a trailing surrogate')
    wrong('"\\udc00"', 'a leading surrogate')
    wrong('true false', 'the end')
    wrong('{"a":1,"a":2}', 'did not occur before', 'column 8')
    wrong(Buffer.from([0x22, 0xff, 0x22]), 'UTF-8')
    wrong('nul', 'a value')
  })

  test('refuses deep nesting instead of running out of stack', () => {
    const nested = (depth: number) => '['.repeat(depth) + ']'.repeat(depth)
    expect(parse(nested(64))).toBeDefined()
    expect(() => parse(nested(66))).toThrow(coded('bad-file', '64 levels'))
    expect(() => parse('['.repeat(1e6))).toThrow(coded('bad-file', '64 levels'))
  })
})
