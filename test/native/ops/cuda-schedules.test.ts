// What the kernels give under schedules of every kind, with seeded faults, and where one takes over
// the work of another.

import { afterEach, expect, test } from 'vitest'
import {
  afterGate,
  afterNorm,
  attend,
  built,
  counted,
  cuda,
  feedForward,
  inverses,
  mixed,
  multiply,
  norm,
  placed,
  product,
  productAfter,
  resetCuda,
  type Site,
  sample,
  seeds,
  topK,
  uneven,
  walk,
  withoutGroups,
} from '../../support/cuda.js'
import { normals, ops, sameBits } from '../../support/ops.js'

afterEach(resetCuda)

test.skipIf(!built).each([
  ['a norm', afterNorm],
  ['a gate', afterGate],
])('a product takes over %s before it, to the same bits', (_, before) => {
  for (const types of [['F16', 'Q8_0'], ['BF16'], ['Q4_K', 'BF16', 'Q6_K']]) {
    const one = counted(() => productAfter(before, types))
    const two = counted(() => productAfter((...at) => ({ ...before(...at), apart: true }), types))
    expect(sameBits(one.out, two.out)).toBe(true)
    expect(two.kernels - one.kernels).toBe(1)
  }
})

test.skipIf(!built).each([
  { hidden: 448, types: ['BF16', 'BF16', 'BF16'], fewer: 1 }, // blocks of 128 tokens
  { hidden: 64, types: ['BF16', 'BF16', 'BF16'], fewer: 1 }, // and of 64
  { hidden: 80, types: ['BF16', 'BF16', 'BF16'], fewer: 0 }, // a tile is not full
  { hidden: 192, types: ['BF16', 'BF16', 'Q8_0'], fewer: 0 },
  { hidden: 192, types: ['BF16', 'F16', 'BF16'], fewer: 0 },
  { hidden: 192, types: ['F16', 'F16', 'F16'], fewer: 0 },
])(
  'two products of $types and a gate of $hidden become one kernel where they can, to the same bits',
  ({ hidden, types, fewer }) => {
    const apart = counted(() => feedForward(hidden, false, types))
    const together = counted(() => feedForward(hidden, true, types))
    expect(sameBits(together.out, apart.out)).toBe(true)
    expect(apart.kernels - together.kernels).toBe(fewer)
    const alone = counted(() => withoutGroups(() => feedForward(hidden, true, types)))
    expect(sameBits(alone.out, apart.out)).toBe(true)
  },
)

test.skipIf(!built)('attention rounds what a product of BF16 takes, to the same bits', () => {
  const apart = counted(() => mixed())
  const passed = counted(() => mixed({ passedTo: 'BF16' }))
  expect(sameBits(passed.out, apart.out)).toBe(true)
  expect(apart.kernels - passed.kernels).toBe(2)
  const f32 = counted(() => mixed({ passedTo: 'BF16', cacheType: 'F32' }))
  expect(f32.kernels).toBe(apart.kernels - 1) // one kernel for both kinds of lines
  expect(sameBits(f32.out, mixed({ cacheType: 'F32' }))).toBe(true)
})

const halfTurned = { headDim: 24, invFreq: inverses(5) }

test.skipIf(!built).each([
  { name: 'norms and ropes', settings: {}, fewer: 4 },
  { name: 'ropes', settings: { qNorm: undefined, kNorm: undefined }, fewer: 2 },
  { name: 'a norm of keys', settings: { qNorm: undefined }, fewer: 3 },
  { name: 'a norm of queries', settings: { kNorm: undefined }, fewer: 3 },
  { name: 'ropes of neighbours', settings: { headDim: 128, adjacent: true }, fewer: 4 },
  { name: 'ropes of a part', settings: { ...halfTurned, cacheType: 'F32' as const }, fewer: 4 },
  { name: 'ropes before a q8_0 cache', settings: { cacheType: 'Q8_0' as const }, fewer: 4 },
  { name: 'many heads', settings: { heads: 24, kvHeads: 6, headDim: 64 }, fewer: 4 },
  { name: 'nothing of long heads', settings: { headDim: 160 }, fewer: 0 },
])('a store takes over $name before it, to the same bits', ({ settings, fewer }) => {
  const one = counted(() => placed(settings))
  const two = counted(() => placed({ ...settings, apart: true }))
  expect(sameBits(one.out, two.out)).toBe(true)
  expect(two.kernels - one.kernels).toBe(2 * fewer)
})

const cases = [
  { name: 'top-k', run: topK },
  { name: 'sample', run: sample },
  { name: 'norm', run: norm },
  { name: 'a product after a norm', run: () => productAfter(afterNorm) },
  { name: 'a product after a gate', run: () => productAfter(afterGate) },
  { name: 'a store after norms and ropes', run: () => placed() },
  { name: 'attention on an f16 cache', run: () => attend() },
  { name: 'attention in many blocks', run: walk },
  { name: 'attention before a product of BF16', run: () => mixed({ passedTo: 'BF16' }) },
  { name: 'attention on a q8_0 cache', run: () => attend({ cacheType: 'Q8_0' }) },
  {
    name: 'matmul, few tokens',
    run: () => multiply(uneven(1, 1, 2048), 1, product('Q4_K', 24, 2048)),
  },
  {
    name: 'matmul, many tokens',
    run: () => multiply(uneven(1, 70, 2048), 70, product('Q8_0', 24, 2048)),
  },
  {
    name: 'matmul, blocks of 128 tokens',
    run: () => withoutGroups(() => multiply(uneven(1, 129, 512), 129, product('F16', 24, 512))),
  },
  {
    name: 'matmul, warpgroups',
    run: () => multiply(uneven(1, 129, 320), 129, product('F16', 150, 320)),
  },
  {
    name: 'matmul, warpgroups and a gate',
    run: () => feedForward(448, true), // a block makes up to five
  },
  {
    name: 'matmul, warpgroups and few rows',
    run: () => multiply(uneven(1, 129, 768), 129, product('BF16', 24, 768)),
  },
]

test.skipIf(!built).each(cases)(
  '$name gives the same bits under 20 schedules and with two OS threads',
  ({ run }) => {
    const expected = run()
    for (const seed of seeds) {
      cuda.cudaSchedule(seed, (seed % 2) + 1)
      expect(sameBits(run(), expected), `schedule ${seed}`).toBe(true)
    }
  },
)

// Most faults show at once; few need two blocks to meet at the right moment.
const mostSchedules = 200

/** Whether a case is wrong or stopped under a schedule. */
function isCaught(run: () => Float32Array, expected: Float32Array, seed: number): boolean {
  cuda.cudaSchedule(seed, 1)
  try {
    return !sameBits(run(), expected)
  } catch {
    return true
  }
}

test.skipIf(!built)(
  'no barrier and no wait can be taken out without being missed',
  {
    timeout: 120_000,
  },
  () => {
    const expected = cases.map(({ run }) => run())
    const sites = new Map<string, { site: Site; cases: number[] }>()
    cases.forEach(({ run }, i) => {
      cuda.cudaSites(true)
      run()
      for (const site of cuda.cudaSites(false)) {
        const name = `${site.kind} at ${site.file.split('/').at(-1)}:${site.line}`
        const known = sites.get(name) ?? { site, cases: [] }
        sites.set(name, { site, cases: [...known.cases, i] })
      }
    })
    expect(sites.size).toBeGreaterThan(8)
    const unmissed = [...sites].filter(([, { site, cases: using }]) => {
      cuda.cudaSkip(site)
      const seeds = Array.from({ length: mostSchedules }, (_, i) => i + 1)
      return !seeds.some((seed) =>
        using.some((i) => {
          const one = cases[i]
          const right = expected[i]
          return one && right && isCaught(one.run, right, seed)
        }),
      )
    })
    expect(unmissed.map(([name]) => name)).toEqual([])
  },
)

test.skipIf(!built)('who decodes with many others gets the bits that it gets alone', () => {
  const together = walk() // so many blocks that each walks its ranges
  const n = together.length / 3
  for (const i of [0, 1, 2]) {
    const one = together.subarray(i * n, (i + 1) * n)
    expect(sameBits(walk([i]), Float32Array.from(one)), `sequence ${i}`).toBe(true)
  }
})

test.skipIf(!built)('attention that reads the page after the right one is wrong', () => {
  expect(sameBits(attend({ pageShift: 1 }), attend())).toBe(false)
})

test.skipIf(!built).each(['F32', 'F16'] as const)(
  'attention on %s is the same whether blocks share ranges or walk them alone',
  (cacheType) => {
    const [heads, length] = [4, 260]
    const make = () => ({
      q: normals(1, length * heads * 8),
      k: normals(2, length * heads * 8),
      v: normals(3, length * heads * 8),
      out: new Float32Array(length * heads * 8),
    })
    const call = { table: 'cuda', heads, kvHeads: heads, headDim: 8, scale: 0.3 }
    const [whole, pieces] = [make(), make()]
    const run = (one: typeof whole, steps: Int32Array[]): void =>
      ops.opsAttention({ ...call, cacheType, sequences: [one], steps })
    run(whole, [Int32Array.of(0, 0, length)]) // tiles of 4 heads, all but the last of F16: walked
    run(
      pieces,
      Array.from({ length: 26 }, (_, i) => Int32Array.of(0, i * 10, 10)), // 4 blocks: shared
    )
    expect(sameBits(pieces.out, whole.out)).toBe(true)
  },
)
