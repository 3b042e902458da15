import { describe, expect, it } from 'vitest'
import { failures, losses } from '../../bench/check.js'
import { decodeRow, resultsOf } from './sample-results.js'

describe('losses', () => {
  it('names a case that is slower by more than three hundredths', () => {
    const lost = losses(resultsOf(decodeRow([100], [])), resultsOf(decodeRow([96], [])))
    expect(lost).toHaveLength(1)
    expect(lost[0]).toMatchObject({ name: 'decode tiny Q8_0 at 4', before: 100, after: 96 })
    expect(lost[0]?.loss).toBeCloseTo(0.04)
  })

  it('lets two hundredths pass', () => {
    expect(losses(resultsOf(decodeRow([100], [])), resultsOf(decodeRow([98], [])))).toEqual([])
  })

  it('knows that lower is better for latencies', () => {
    const lower = { better: 'lower' } as const
    const before = resultsOf(decodeRow([100], [], lower))
    expect(losses(before, resultsOf(decodeRow([90], [], lower)))).toEqual([])
    expect(losses(before, resultsOf(decodeRow([110], [], lower)))).toHaveLength(1)
  })

  it('does not blame us for a slower machine: the peer lost as much', () => {
    const before = resultsOf(decodeRow([100], [50]))
    expect(losses(before, resultsOf(decodeRow([80], [40])))).toEqual([])
    expect(losses(before, resultsOf(decodeRow([80], [50])))).toHaveLength(1)
  })

  it('ignores cases that only one of the results has', () => {
    const other = decodeRow([1], [], { name: 'other' })
    expect(losses(resultsOf(decodeRow([100], [])), resultsOf(other))).toEqual([])
  })
})

describe('failures', () => {
  it('names a limit that is passed', () => {
    expect(failures(resultsOf(decodeRow([6], [], { limit: 5, better: 'lower' })))).toEqual([
      'decode tiny Q8_0 at 4: expected at most 5 tokens/s but measured 6',
    ])
    expect(failures(resultsOf(decodeRow([5], [], { limit: 5, better: 'lower' })))).toEqual([])
  })

  it('names a void time', () => {
    const row = decodeRow([1], [], { tokens: 9 })
    expect(failures(resultsOf(row))[0]).toContain('void, expected 9 tokens')
  })
})
