import { describe, expect, it } from 'vitest'
import { compared, failures, losses, newestOf } from '../../bench/check.js'
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

  it('ignores cases that only one of the results has, which do not count as compared', () => {
    const [row, other] = [decodeRow([100], []), decodeRow([1], [], { name: 'other' })]
    expect(losses(resultsOf(row), resultsOf(other))).toEqual([])
    expect(compared(resultsOf(row), resultsOf(other))).toBe(0)
    expect(compared(resultsOf(row), resultsOf(other, row))).toBe(1)
    expect(compared(resultsOf(row), resultsOf({ ...row, drivers: [] }))).toBe(0)
  })

  it('compares each case with its newest row of all results', () => {
    const [old, later] = [resultsOf(decodeRow([100], [])), resultsOf(decodeRow([90], []))]
    const other = resultsOf(decodeRow([1], [], { name: 'other' }))
    const all = [{ ...later, date: '2026-01-03' }, old, { ...other, date: '2026-01-04' }]
    const values = newestOf(all)?.rows.map((row) => row.drivers[0]?.value.median)
    expect(values).toEqual([1, 90])
    const sameDay = newestOf([later, old])?.rows.map((row) => row.drivers[0]?.value.median)
    expect(sameDay).toEqual([90])
    expect(newestOf([])).toBeUndefined()
  })
})

describe('failures', () => {
  it('names a case that did not run', () => {
    const row = { ...decodeRow([1], []), drivers: [], skipped: 'Error: no file' }
    expect(failures(resultsOf(row))).toEqual(['decode tiny Q8_0 at 4: not run, Error: no file'])
  })

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
