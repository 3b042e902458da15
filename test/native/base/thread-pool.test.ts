import { describe, expect, it } from 'vitest'
import { probe } from '../../support/probe.js'

const pool = probe<{
  poolVisits(threads: number, n: number, grain: number, rounds: number): Float32Array
  poolShares(threads: number, n: number, sleepMs: number): Int32Array
  poolThrows(threads: number): boolean
  poolForkJoin(threads: number, rounds: number): number
}>()

describe.each([1, 2, 3, 8])('a pool of %i threads', (threads) => {
  it.each([
    [1, 1],
    [5, 8],
    [100, 1],
    [1000, 7],
    [64, 64],
    [65, 64],
  ])('visits each of %i indices once per round, in ranges of %i', (n, grain) => {
    const rounds = 300
    expect(pool.poolVisits(threads, n, grain, rounds).every((count) => count === rounds)).toBe(true)
  })

  it('does nothing for an empty range', () => {
    expect(pool.poolVisits(threads, 0, 1, 3)).toHaveLength(0)
  })

  it('brings an exception of a body to the caller and goes on working', () => {
    expect(pool.poolThrows(threads)).toBe(true)
  })
})

describe('the fork-join pool', () => {
  it('gives the work of a slow thread to the others', () => {
    const shares = pool.poolShares(2, 60, 1)
    expect(shares.reduce((a, b) => a + b, 0)).toBe(60)
    expect(shares[1]).toBeLessThan(20)
  })

  it('starts and ends pools without a trace, a thousand times', () => {
    for (let i = 0; i < 1000; i++) expect(pool.poolVisits(3, 3, 1, 1)).toHaveLength(3)
  })

  it('forks and joins more threads than there are cores', () => {
    expect(pool.poolForkJoin(9, 20)).toBeGreaterThan(0)
  })
})
