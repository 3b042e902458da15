import fc from 'fast-check'
import { expect, test } from 'vitest'
import { probe } from '../../support/probe.js'

interface PagePool {
  take(n: number): Int32Array | null
  share(page: number): void
  release(page: number): void
  holders(page: number): number
  freeCount(): number
}
const { pagePool } = probe<{ pagePool(total: number): PagePool }>()

test('a pool hands out every page once, then refuses', () => {
  const pool = pagePool(7)
  const pages = pool.take(7)
  expect(new Set(pages)).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]))
  expect(pool.take(1)).toBeNull()
})

test('a request for more pages than are free takes none', () => {
  const pool = pagePool(4)
  expect(pool.take(5)).toBeNull()
  expect(pool.freeCount()).toBe(4)
})

test('a shared page is free when its last holder lets go', () => {
  const pool = pagePool(1)
  pool.take(1)
  pool.share(0)
  pool.release(0)
  expect(pool.freeCount()).toBe(0)
  pool.release(0)
  expect(pool.freeCount()).toBe(1)
})

test('holders and free pages agree with a model after any operations', () => {
  const operation = fc.record({
    kind: fc.constantFrom('take', 'share', 'release'),
    n: fc.nat(5),
  })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 12 }), fc.array(operation), (total, operations) => {
      const pool = pagePool(total)
      const holders = new Array<number>(total).fill(0)
      for (const { kind, n } of operations) {
        const held = holders.flatMap((count, page) => (count > 0 ? [page] : []))
        const page = held[n % Math.max(held.length, 1)]
        if (kind === 'take') {
          const free = total - held.length
          const pages = pool.take(n)
          expect(pages === null).toBe(n > free)
          for (const taken of pages ?? []) {
            expect(holders[taken]).toBe(0)
            holders[taken] = 1
          }
        } else if (page !== undefined) {
          if (kind === 'share') pool.share(page)
          else pool.release(page)
          holders[page] = (holders[page] ?? 0) + (kind === 'share' ? 1 : -1)
        }
        expect(pool.freeCount()).toBe(holders.filter((count) => count === 0).length)
        holders.forEach((count, index) => {
          expect(pool.holders(index)).toBe(count)
        })
      }
    }),
  )
})
