import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { textProbe } from '../../support/vocabulary.js'

const categories = [/\p{Cn}/u, /\p{L}/u, /\p{M}/u, /\p{N}/u, /\p{P}/u, /\p{S}/u, /\p{Z}/u, /\p{C}/u]

describe('Unicode tables', () => {
  // A Node with other Unicode data may know more characters than the tables; none may change.
  it('give each character the properties that Node gives it', () => {
    const wrong: string[] = []
    for (let point = 0; point < 0x110000; point += point < 0x3000 ? 1 : 7) {
      if (point >= 0xd800 && point < 0xe000) continue
      const text = String.fromCodePoint(point)
      const [category, space, lower, decomposed] = textProbe.codepointProperties(point)
      const expected = categories.findIndex((pattern) => pattern.test(text))
      if (expected === 0 || category === 0) continue
      if (
        category !== expected ||
        space !== Number(/\p{White_Space}/u.test(text)) ||
        lower !== text.toLowerCase().codePointAt(0) ||
        decomposed !== text.normalize('NFD').codePointAt(0)
      )
        wrong.push(point.toString(16))
    }
    expect(wrong).toEqual([])
  })
})

describe('is_valid_utf8', () => {
  it('agrees with the web decoder', () => {
    const decoder = new TextDecoder('utf-8', { fatal: true })
    const accepts = (bytes: Uint8Array): boolean => {
      try {
        decoder.decode(bytes)
        return true
      } catch {
        return false
      }
    }
    const byte = fc.oneof(
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f, 0xf5),
    )
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 6 }), (bytes) => {
        const data = Uint8Array.from(bytes)
        expect(textProbe.validUtf8(data)).toBe(accepts(data))
      }),
      { numRuns: 5000 },
    )
  })
})
