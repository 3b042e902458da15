import { describe, expect, it } from 'vitest'
import { summarize } from '../../bench/results.js'
import { decodeCase, decodeRow, run } from './sample-results.js'

describe('summarize', () => {
  it('pools the values of all rounds and keeps a median for each', () => {
    const row = summarize(decodeCase, [run('millrace', [1, 2, 9]), run('millrace', [4, 4, 4])])
    expect(row.drivers[0]?.value).toMatchObject({ min: 1, max: 9, median: 4, count: 6 })
    expect(row.drivers[0]?.rounds).toEqual([2, 4])
  })

  it('compares neighbours in time, not medians of all', () => {
    // The machine is twice as fast in the second round: the ratio is the same in both.
    expect(decodeRow([10, 20], [5, 10]).ratio).toMatchObject({ median: 2, min: 2, max: 2 })
  })

  it('compares with the best of several peers', () => {
    const row = summarize({ ...decodeCase, drivers: ['millrace', 'peer', 'other'] }, [
      run('millrace', [10]),
      run('peer', [4]),
      run('other', [5]),
    ])
    expect(row).toMatchObject({ peer: 'other', ratio: { median: 2 } })
  })

  it('counts a program that shows no answer', () => {
    const row = summarize(decodeCase, [
      run('millrace', [10]),
      run('peer', [5], { answer: undefined }),
    ])
    expect(row.drivers[1]?.void).toBeUndefined()
    expect(row.agreement).toBeUndefined()
  })

  it('turns the ratio round where lower is better', () => {
    expect(decodeRow([10], [5], { better: 'lower' }).ratio?.median).toBe(0.5)
  })

  it('voids a time with too few tokens', () => {
    const answer = { digest: 'a', exact: false, tokens: [1, 2] }
    const row = summarize(decodeCase, [run('millrace', [1], { answer }), run('peer', [1])])
    expect(row.drivers[0]?.void).toBe('expected 3 tokens but received 2')
    expect(row.drivers[1]?.void).toBeUndefined()
  })

  it('voids an exact answer that differs from the reference', () => {
    const exact = (digest: string) => ({ answer: { digest, exact: true, tokens: [] } })
    const tokenize = { ...decodeCase, kind: 'tokenize', tokens: 0 } as const
    const same = summarize(tokenize, [
      run('millrace', [1], exact('a')),
      run('peer', [1], exact('a')),
    ])
    expect(same.drivers.map((driver) => driver.void)).toEqual([undefined, undefined])
    const other = summarize(tokenize, [
      run('millrace', [1], exact('a')),
      run('peer', [1], exact('b')),
    ])
    expect(other.drivers[0]?.void).toBe('the answer differs from peer')
  })

  it('says how many greedy tokens agree, and does not void what differs', () => {
    const answer = { digest: 'b', exact: false, tokens: [1, 2, 7] }
    const row = summarize(decodeCase, [run('millrace', [1]), run('peer', [1], { answer })])
    expect(row.agreement).toBe('2 of 3')
    expect(row.drivers.map((driver) => driver.void)).toEqual([undefined, undefined])
  })

  it('shows answers that change between rounds as several digests', () => {
    const answer = { digest: 'b', exact: false, tokens: [1, 2, 3] }
    const row = summarize(decodeCase, [run('millrace', [1]), run('millrace', [1], { answer })])
    expect(row.drivers[0]?.digests).toEqual(['a', 'b'])
  })
})
