import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  aNumber,
  anInteger,
  aString,
  checkOptions,
  nearest,
  oneOf,
  show,
  someTokens,
} from '../../lib/options.js'

const checks = { temperature: aNumber(0, 10), topK: anInteger(0), name: aString }
const check = (options: unknown) => () =>
  checkOptions('generate', options as object, checks, { tools: 'pass no tools' })

describe('checkOptions', () => {
  it('names the option, the expectation and the value', () => {
    expect(check({ temperature: 'hot' })).toThrow(
      new TypeError('Expected "temperature" to be a number from 0 to 10 but received "hot"'),
    )
    expect(check({ topK: 1.5 })).toThrow(
      new TypeError('Expected "topK" to be an integer of at least 0 but received 1.5'),
    )
    expect(check({ temperature: Number.NaN })).toThrow(/received NaN/)
    expect(check(null)).toThrow('Expected "generate" to be an object but received null')
  })

  it('refuses unknown names with the nearest known one', () => {
    expect(check({ temprature: 1 })).toThrow(
      new TypeError('Unknown option "temprature" of generate: did you mean "temperature"?'),
    )
    expect(check({ top_k: 1 })).toThrow(/did you mean "topK"\?/)
    expect(check({ zzzzzzzz: 1 })).toThrow(/known are temperature, topK, name, tools/)
    expect(check({ toString: 1 })).toThrow(TypeError)
    expect(check({ __proto__: null, constructor: 1 })).toThrow(TypeError)
  })

  it('refuses what is not there yet with code unsupported, and drops undefined', () => {
    expect(check({ tools: [] })).toThrow(expect.objectContaining({ code: 'unsupported' }))
    expect(check({ tools: undefined, topK: undefined, name: 'a' })()).toEqual({ name: 'a' })
    expect(check(undefined)()).toEqual({})
  })

  it('never lets a value through that its check refuses', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          const { temperature } = check({ temperature: value })() as { temperature?: number }
          return temperature === undefined || (temperature >= 0 && temperature <= 10)
        } catch (error) {
          return error instanceof TypeError
        }
      }),
    )
  })
})

describe('checks', () => {
  it('take token ids of any array and nothing else', () => {
    for (const good of [[], [1, 2], Int32Array.of(1), Uint32Array.of(7), { length: 1, 0: 3 }]) {
      expect(someTokens(good)).toBeUndefined()
    }
    for (const bad of [
      [-1],
      [1.5],
      ['1'],
      [2 ** 31],
      Int32Array.of(-1),
      'ab',
      null,
      3,
      {},
      { length: 1 },
    ]) {
      expect(someTokens(bad)).toMatch(/array of token ids/)
    }
  })

  it('list the names that are allowed', () => {
    expect(oneOf('a', 'b')('c')).toBe('one of "a", "b"')
  })

  it('show any value in a few words', () => {
    fc.assert(fc.property(fc.anything(), (value) => show(value).length < 200))
    expect(show([1, 2])).toBe('an array of 2')
    expect(show(new Map())).toBe('a Map')
    expect(show(5n)).toBe('5n')
  })
})

describe('nearest', () => {
  it('finds a name with one mistake', () => {
    const known = ['maxTokens', 'temperature', 'stopTokens', 'repetitionPenalty']
    fc.assert(
      fc.property(fc.constantFrom(...known), fc.nat(), (name, seed) => {
        const at = seed % name.length
        return nearest(name.slice(0, at) + name.slice(at + 1), known) === name
      }),
    )
  })
})
