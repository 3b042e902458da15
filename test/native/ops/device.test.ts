import { afterEach, describe, expect, it } from 'vitest'
import { tables } from '../../support/ops.js'
import { probe } from '../../support/probe.js'

const native = probe<{
  opsTables(): string[]
  opsDevice(call: { table: string; threads: number }): {
    name: string
    ops: string
    threads: number
    memoryBytes: number
    freeBytes: number
  }
  opsAlloc(failAfter: number, sizes: Float64Array): string[]
  opsRows(table: string, n: number): number[]
  opsSteps(table: string): (number | string)[]
}>()

const before = process.env.MILLRACE_OPS
afterEach(() => probe.setOps(before))

describe('the CPU device', () => {
  it('takes the best table of this processor unless told otherwise', () => {
    probe.setOps(undefined)
    const [best] = native.opsTables()
    expect(native.opsDevice({ table: '', threads: 1 }).ops).toBe(best)
  })

  it.each(native.opsTables())('takes the %s table when MILLRACE_OPS names it', (table) => {
    probe.setOps(table)
    expect(native.opsDevice({ table: '', threads: 1 }).ops).toBe(table)
  })

  it('prefers the table that the caller names to MILLRACE_OPS', () => {
    probe.setOps('nothing')
    expect(native.opsDevice({ table: 'reference', threads: 1 }).ops).toBe('reference')
  })

  it('refuses a table that this processor cannot run and lists those it can', () => {
    probe.setOps('abacus')
    const names = native.opsTables().join(', ')
    expect(() => native.opsDevice({ table: '', threads: 1 })).toThrow(
      `Expected the operator table to be one of ${names} on this processor but found "abacus"`,
    )
  })

  it('says how many threads and bytes there are', () => {
    const device = native.opsDevice({ table: '', threads: 3 })
    expect(device).toMatchObject({ name: 'cpu', threads: 3 })
    expect(device.freeBytes).toBeGreaterThan(0)
    expect(device.memoryBytes).toBeGreaterThanOrEqual(device.freeBytes)
    expect(native.opsDevice({ table: '', threads: 0 }).threads).toBeGreaterThan(0)
  })

  it.each([-1, 1025])('refuses %i threads', (threads) => {
    expect(() => native.opsDevice({ table: '', threads })).toThrow(
      `Expected threads to be 0..1024 but found ${threads}`,
    )
  })

  it('gives zeroed, aligned memory of any size', () => {
    const sizes = Float64Array.of(0, 1, 63, 4097, 3 << 20, 5e6 + 1)
    expect(native.opsAlloc(-1, sizes)).toEqual(Array.from({ length: 12 }, () => ''))
  })

  it('says what it could not allocate', () => {
    const refused = 'cannot allocate 100 bytes for a test'
    const messages = native.opsAlloc(0, Float64Array.of(100, 200))
    expect(messages.slice(0, 2)).toEqual([refused, expect.stringContaining('operator scratch')])
    expect(native.opsAlloc(-1, Float64Array.of(2 ** 60))[0]).toContain('cannot allocate')
  })
})

describe.each(tables)('steps on the %s table', (table) => {
  it('come over in the order in which they were asked for, two of them at most', () => {
    const none = 'Expected a step on its way but there is none'
    const tooMany = 'Expected a step to be collected before a third is asked for'
    // One; two, of which one is collected, then a third; one that finish() forgets; three.
    expect(native.opsSteps(table)).toEqual([none, 1, 2, 3, 4, none, tooMany])
  })
})

describe('the rows of a step', () => {
  it('stay as many on the CPU', () => {
    expect(native.opsRows('reference', 40)).toEqual(Array.from({ length: 41 }, (_, n) => n))
  })

  it.skipIf(!tables.includes('cuda'))('become one of few numbers where graphs are kept', () => {
    const rows = native.opsRows('cuda', 600)
    const few = [10, 12, 14, 16, 20, 24, 28, 32, 40]
    expect([...new Set(rows.slice(0, 41))]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, ...few])
    expect(new Set(rows.slice(1, 257)).size).toBe(28)
    for (const [n, filled] of rows.entries()) {
      expect(filled).toBeGreaterThanOrEqual(n)
      expect(filled).toBeLessThanOrEqual(n * 1.25)
      expect(filled).toBeGreaterThanOrEqual(rows[n - 1] ?? 0)
    }
    expect(rows[600]).toBe(600)
  })
})
