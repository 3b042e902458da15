import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { probe } from '../../support/probe.js'

type Key = [parent: number, hash: number, tokens: Int32Array, scope: string]
interface PrefixIndex {
  find(...key: Key): number
  insert(...keyAndPage: [...Key, page: number]): number
  mostAlike(...keyAndCount: [...Key, n: number]): Int32Array // page, equal tokens
  lock(node: number): void
  unlock(node: number): void
  evict(): number
  counts(): Int32Array // size, unlocked
}
const { prefixIndex } = probe<{ prefixIndex(pageTokens: number): PrefixIndex }>()
const none = -1
const page = (...tokens: number[]) => Int32Array.from(tokens)

test('a page is found again by parent, hash, tokens and scope', () => {
  const index = prefixIndex(2)
  const first = index.insert(none, 11, page(1, 2), 'a', 5)
  const second = index.insert(first, 12, page(3, 4), 'a', 6)
  expect(index.find(none, 11, page(1, 2), 'a')).toBe(first)
  expect(index.find(first, 12, page(3, 4), 'a')).toBe(second)
})

test.each<[string, Key]>([
  ['tokens', [none, 11, page(1, 3), 'a']],
  ['a scope', [none, 11, page(1, 2), 'b']],
  ['a parent', [7, 11, page(1, 2), 'a']],
  ['a hash', [none, 12, page(1, 2), 'a']],
])('a page that differs in %s is not a hit, even where the hash is the same', (_, key) => {
  const index = prefixIndex(2)
  index.insert(none, 11, page(1, 2), 'a', 5)
  expect(index.find(...key)).toBe(none)
})

test('a second page with a hash that is taken is not entered', () => {
  const index = prefixIndex(2)
  index.insert(none, 11, page(1, 2), '', 5)
  expect(index.insert(none, 11, page(9, 9), '', 6)).toBe(none)
  expect([...index.counts()]).toEqual([1, 1])
})

describe('the page that begins most alike', () => {
  const alike = (index: PrefixIndex, parent: number, tokens: Int32Array, scope = '', n = 4) => [
    ...index.mostAlike(parent, 0, tokens, scope, n),
  ]

  test('is one of the same parent', () => {
    const index = prefixIndex(4)
    const first = index.insert(none, 11, page(1, 2, 3, 4), '', 30)
    const second = index.insert(first, 12, page(5, 6, 7, 8), '', 31)
    index.insert(first, 13, page(5, 6, 9, 9), '', 32)
    expect(alike(index, first, page(5, 6, 7, 0))).toEqual([31, 3])
    expect(alike(index, first, page(5, 6, 9, 9))).toEqual([32, 4])
    expect(alike(index, first, page(5, 6, 9, 9), '', 3)).toEqual([32, 3])
    expect(alike(index, first, page(6, 6, 9, 9))).toEqual([none, 0])
    expect(alike(index, second, page(5, 6, 7, 8))).toEqual([none, 0])
    expect(alike(index, none, page(1, 2, 0, 0))).toEqual([30, 2])
  })

  test('is of the same scope', () => {
    const index = prefixIndex(4)
    index.insert(none, 11, page(1, 2, 3, 4), 'a', 30)
    index.insert(none, 12, page(1, 2, 3, 5), 'b', 31)
    expect(alike(index, none, page(1, 2, 3, 5), 'a')).toEqual([30, 3])
    expect(alike(index, none, page(1, 2, 3, 5), 'c')).toEqual([none, 0])
  })

  test('is none that was evicted, and those beside it stay', () => {
    for (const gone of [0, 1, 2]) {
      const index = prefixIndex(1)
      const nodes = [0, 1, 2].map((i) => index.insert(none, 20 + i, page(i), '', 30 + i))
      for (const [i, node] of nodes.entries()) if (i !== gone) index.lock(node)
      expect(index.evict()).toBe(30 + gone)
      const found = [0, 1, 2].map((i) => alike(index, none, page(i), '', 1)[0])
      expect(found).toEqual([0, 1, 2].map((i) => (i === gone ? none : 30 + i)))
    }
  })

  test('is looked for among the newest only', () => {
    const index = prefixIndex(1)
    for (let i = 0; i < 65; i++) index.insert(none, i + 1, page(i), '', 30 + i)
    expect(alike(index, none, page(0), '', 1)).toEqual([none, 0])
    expect(alike(index, none, page(1), '', 1)).toEqual([31, 1])
  })
})

test('the leaf that was unlocked longest ago is evicted first', () => {
  const index = prefixIndex(1)
  const nodes = [0, 1, 2].map((i) => index.insert(none, 20 + i, page(i), '', i))
  for (const node of nodes) index.lock(node)
  for (const i of [1, 2, 0]) index.unlock(nodes[i] ?? none)
  expect([index.evict(), index.evict(), index.evict(), index.evict()]).toEqual([1, 2, 0, -1])
})

test('a page goes only after all pages that follow it', () => {
  const index = prefixIndex(1)
  const root = index.insert(none, 1, page(1), '', 10)
  const left = index.insert(root, 2, page(2), '', 11)
  index.insert(root, 3, page(3), '', 12)
  index.insert(left, 4, page(4), '', 13)
  const order = [index.evict(), index.evict(), index.evict(), index.evict()]
  expect(order.indexOf(10)).toBe(3)
  expect(order.indexOf(13)).toBeLessThan(order.indexOf(11))
})

// A model that keeps paths of tokens in a plain map and walks everything.
interface Node {
  id: number
  parent: number
  path: string
  locks: number
  used: number
}

test('finding, locking and evicting agree with a model, also when all hashes collide', () => {
  const operation = fc.record({
    kind: fc.constantFrom('insert', 'lock', 'unlock', 'evict'),
    pick: fc.nat(1000),
    token: fc.nat(2),
  })
  fc.assert(
    fc.property(
      fc.constantFrom(3, 1 << 30),
      fc.array(operation, { maxLength: 60 }),
      (hashes, operations) => {
        const index = prefixIndex(1)
        const nodes = new Map<number, Node>() // by page, which is never used twice
        let clock = 0
        let nextPage = 0
        const hashOf = (path: string) =>
          [...path].reduce((h, c) => (h * 31 + c.charCodeAt(0)) % hashes, 7)
        const children = (id: number) => [...nodes.values()].filter((node) => node.parent === id)
        for (const { kind, pick, token } of operations) {
          const all = [...nodes.values()]
          const chosen = all[pick % Math.max(all.length, 1)]
          if (kind === 'insert') {
            const parent = pick % 3 === 0 ? undefined : chosen
            const path = `${parent?.path ?? ''}/${token}`
            const key: Key = [parent?.id ?? none, hashOf(path), page(token), '']
            const known = all.find((node) => node.path === path)
            expect(index.find(...key)).toBe(known?.id ?? none)
            if (known) continue
            const id = index.insert(...key, nextPage)
            const collides = all.some((node) => hashOf(node.path) === hashOf(path))
            expect(id === none).toBe(collides)
            if (!collides)
              nodes.set(nextPage++, {
                id,
                parent: parent?.id ?? none,
                path,
                locks: 0,
                used: ++clock,
              })
          } else if (kind === 'evict') {
            const idle = [...nodes].filter(
              ([, node]) => node.locks === 0 && children(node.id).length === 0,
            )
            idle.sort(([, a], [, b]) => a.used - b.used)
            const oldest = idle[0]?.[0] ?? -1
            expect(index.evict()).toBe(oldest)
            nodes.delete(oldest)
          } else if (chosen && (kind === 'lock' || chosen.locks > 0)) {
            // A sequence holds a whole path, so ancestors are locked first and unlocked last.
            const line: Node[] = []
            for (let node: Node | undefined = chosen; node; ) {
              line.push(node)
              const parent: number = node.parent
              node = all.find((other) => other.id === parent)
            }
            if (kind === 'lock') line.reverse()
            if (kind === 'unlock' && children(chosen.id).some((node) => node.locks >= chosen.locks))
              continue
            for (const node of line) {
              node.locks += kind === 'lock' ? 1 : -1
              if (kind === 'lock') index.lock(node.id)
              else index.unlock(node.id)
              if (node.locks === 0) node.used = ++clock
            }
          }
          const unlocked = [...nodes.values()].filter((node) => node.locks === 0).length
          expect([...index.counts()]).toEqual([nodes.size, unlocked])
        }
      },
    ),
    { numRuns: 300 },
  )
})
