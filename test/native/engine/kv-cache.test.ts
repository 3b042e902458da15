import fc from 'fast-check'
import { expect, test } from 'vitest'
import { probe } from '../../support/probe.js'

interface KvCache {
  open(): number
  match(table: number, tokens: Int32Array, scope: string, maxPages: number): number
  grow(table: number, nPages: number): boolean
  publish(table: number, tokens: Int32Array, scope: string, nFull: number): void
  publishEnd(table: number, tokens: Int32Array, scope: string, nTokens: number): void
  mostAlike(table: number, tokens: Int32Array, scope: string, n: number): Int32Array // page, tokens
  release(table: number): void
  pages(table: number): Int32Array
  counts(): Int32Array // free, cached, held, total, evictions
  check(): string // empty: the identity holds
}
const { kvCache } = probe<{ kvCache(totalPages: number, pageTokens: number): KvCache }>()
const pageTokens = 2
const text = (...tokens: number[]) => Int32Array.from(tokens)

function fill(cache: KvCache, tokens: Int32Array, scope = ''): number {
  const table = cache.open()
  const pages = Math.ceil(tokens.length / pageTokens)
  expect(cache.grow(table, pages)).toBe(true)
  cache.publish(table, tokens, scope, Math.floor(tokens.length / pageTokens))
  return table
}

test('pages of a prefix are shared with a sequence that is still running', () => {
  const cache = kvCache(8, pageTokens)
  const first = fill(cache, text(1, 2, 3, 4, 5))
  const second = cache.open()
  expect(cache.match(second, text(1, 2, 3, 4, 9), '', 2)).toBe(2)
  expect([...cache.pages(second)]).toEqual([...cache.pages(first).slice(0, 2)])
  expect([...cache.counts().slice(0, 4)]).toEqual([5, 0, 3, 8])
})

test('another scope shares nothing', () => {
  const cache = kvCache(8, pageTokens)
  fill(cache, text(1, 2, 3, 4), 'one')
  expect(cache.match(cache.open(), text(1, 2, 3, 4), 'two', 2)).toBe(0)
})

test('full pages of a released sequence stay cached and its last, partial one becomes free', () => {
  const cache = kvCache(8, pageTokens)
  cache.release(fill(cache, text(1, 2, 3, 4, 5)))
  expect([...cache.counts().slice(0, 4)]).toEqual([6, 2, 0, 8])
})

test('a last page that is not full stays to be copied from, but is never shared', () => {
  const cache = kvCache(8, 4)
  const first = cache.open()
  const tokens = text(1, 2, 3, 4, 5, 6, 7)
  cache.grow(first, 2)
  cache.publish(first, tokens, '', 1)
  const last = cache.pages(first)[1]
  cache.publishEnd(first, tokens, '', 7)
  cache.release(first)
  expect([...cache.counts().slice(0, 4)]).toEqual([6, 2, 0, 8])
  const second = cache.open()
  const longer = text(1, 2, 3, 4, 5, 6, 7, 8, 9)
  expect(cache.match(second, longer, '', 2)).toBe(1)
  expect([...cache.mostAlike(second, longer, '', 4)]).toEqual([last, 3])
  expect([...cache.mostAlike(second, text(1, 2, 3, 4, 5, 9, 9, 9), '', 4)]).toEqual([last, 1])
  expect(cache.check()).toBe('')
})

test('a last page that begins like a known one is not kept', () => {
  const cache = kvCache(8, 4)
  for (const tokens of [text(1, 2, 3, 4), text(1, 2, 3), text(1, 2, 3, 9), text(1, 2, 8)]) {
    const table = cache.open()
    cache.grow(table, 1)
    cache.publish(table, tokens, '', Math.floor(tokens.length / 4))
    cache.publishEnd(table, tokens, '', tokens.length)
    cache.release(table)
  }
  expect([...cache.counts().slice(0, 4)]).toEqual([5, 3, 0, 8]) // all but the second
})

test('a page computed twice is given back and the known one used', () => {
  const cache = kvCache(8, pageTokens)
  const first = fill(cache, text(1, 2, 3, 4))
  const second = fill(cache, text(1, 2, 3, 4))
  expect([...cache.pages(second)]).toEqual([...cache.pages(first)])
  expect([...cache.counts().slice(0, 4)]).toEqual([6, 0, 2, 8])
  expect(cache.check()).toBe('')
})

test('growing takes cached pages, least recently used first, and never held ones', () => {
  const cache = kvCache(4, pageTokens)
  const old = fill(cache, text(1, 2))
  const young = fill(cache, text(3, 4))
  const held = fill(cache, text(5, 6))
  cache.release(old)
  cache.release(young)
  const table = cache.open()
  expect(cache.grow(table, 2)).toBe(true)
  expect(cache.counts()[4]).toBe(1)
  expect(cache.match(cache.open(), text(1, 2), '', 1)).toBe(0)
  expect(cache.match(cache.open(), text(3, 4), '', 1)).toBe(1)
  expect(cache.grow(table, 3)).toBe(false)
  expect(cache.pages(held).length).toBe(1)
})

test('free + cached + held == total, and every page has its holders, after any operations', () => {
  const operation = fc.record({
    kind: fc.constantFrom('open', 'match', 'grow', 'publish', 'release', 'end'),
    pick: fc.nat(1000),
    prompt: fc.array(fc.nat(1), { minLength: 1, maxLength: 12 }),
    scope: fc.constantFrom('', 's'),
  })
  interface Live {
    table: number
    tokens: Int32Array
    scope: string
    published: number
  }
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10 }),
      fc.array(operation, { maxLength: 80 }),
      (total, operations) => {
        const cache = kvCache(total, pageTokens)
        const live: Live[] = []
        for (const { kind, pick, prompt, scope } of operations) {
          const one = live[pick % Math.max(live.length, 1)]
          if (kind === 'open') {
            live.push({ table: cache.open(), tokens: Int32Array.from(prompt), scope, published: 0 })
          } else if (one) {
            const nFull = Math.floor(one.tokens.length / pageTokens)
            if (kind === 'match')
              one.published += cache.match(one.table, one.tokens, one.scope, nFull)
            if (kind === 'grow')
              cache.grow(one.table, pick % (Math.ceil(one.tokens.length / pageTokens) + 1))
            if (kind === 'publish') {
              one.published = Math.min(nFull, cache.pages(one.table).length)
              cache.publish(one.table, one.tokens, one.scope, one.published)
            }
            if (kind === 'end')
              cache.publishEnd(one.table, one.tokens, one.scope, one.tokens.length)
            if (kind === 'release' || kind === 'end') {
              cache.release(one.table)
              live.splice(live.indexOf(one), 1)
            }
          }
          expect(cache.check()).toBe('')
        }
        for (const { table } of live) cache.release(table)
        const [free = 0, cached = 0, held] = cache.counts()
        expect(held).toBe(0)
        expect(free + cached).toBe(total)
      },
    ),
    { numRuns: 300 },
  )
})
