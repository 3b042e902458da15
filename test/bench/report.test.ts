import { describe, expect, it } from 'vitest'
import { denominator, details, insert, limitOf, report } from '../../bench/report.js'
import { summarize } from '../../bench/results.js'
import { decodeCase, decodeRow, resultsOf, run } from './sample-results.js'

const work = { bytesPerToken: 2e8, layerOperations: 1e9, headOperations: 5e8 }

describe('report', () => {
  it('puts both engines, the ratio and the share of the read bandwidth in one line', () => {
    const row = { ...decodeRow([100, 100], [50, 50]), work }
    const text = report(resultsOf(row))
    expect(text).toContain('**100** (100..100) | **50** (50..50) | 2.00 | 20 GB/s, 50 % of read')
  })

  it('counts keys and values among what a token reads', () => {
    const deep = { shape: 'qwen3-0.6b', promptTokens: 2048, tokens: 32 }
    const row = { ...decodeRow([50], [25], deep), work }
    expect(denominator(row, resultsOf().limits)).toBe('21.8 GB/s, 55 % of read bandwidth')
  })

  it('sets the rates of decoding alone beside those of the whole batch', () => {
    const batch = { kind: 'batch' } as const
    const row = decodeRow([100], [50], batch)
    for (const [i, driver] of row.drivers.entries()) {
      const value = [90, 60][i] ?? 0
      driver.extra['decoding tokens/s'] = { median: value, min: 0, max: value, p99: 0, count: 1 }
    }
    expect(report(resultsOf(row))).toContain('| 2.00, decoding 1.50 |')
  })

  it('rounds to three digits and drops zeros behind the point alone', () => {
    const text = report(resultsOf(decodeRow([99.96, 99.96], [20.04, 20.04])))
    expect(text).toContain('**100** (100..100) | **20** (20..20)')
  })

  it('gives each peer a column and compares with the best', () => {
    const row = summarize({ ...decodeCase, drivers: ['millrace', 'peer', 'other'] }, [
      run('millrace', [10]),
      run('peer', [4]),
      run('other', [5]),
    ])
    const text = report(resultsOf(row))
    expect(text).toContain('| millrace | peer | other | times better |')
    expect(text).toContain('**10** (10..10) | **4** (4..4) | **5** (5..5) | 2.00 |')
  })

  it('divides by the better of the limits before and after, for the threads of the case', () => {
    const { limits } = resultsOf()
    expect(limitOf(limits, ['read'], 2)).toBe(40)
    expect(limitOf(limits, ['read'], 1)).toBe(20)
    expect(limitOf(limits, ['int8_vnni', 'int8_avx2'], 2)).toBe(200)
    expect(limitOf({}, ['read'], 2)).toBe(0)
  })

  it('divides prefill by the integer peak', () => {
    const row = { ...decodeRow([100], [50], { kind: 'prefill' }), work }
    expect(denominator(row, resultsOf().limits)).toBe('100 GOP/s, 50 % of int8 peak')
  })

  it('divides prefill of float weights by the f32 peak', () => {
    const row = { ...decodeRow([100], [50], { kind: 'prefill', type: 'F16' }), work }
    const limits = { before: { read: [20, 40], f32_avx2: [200, 400], int8_amx: [1, 2] } }
    expect(denominator(row, limits)).toBe('100 GOP/s, 25 % of f32 peak')
  })

  it('divides prefill of 16-bit weights by what products of 16 bits can do, where that was measured', () => {
    const row = { ...decodeRow([100], [50], { kind: 'prefill', type: 'BF16' }), work }
    const limits = { read: [20, 40], f32_avx512: [200, 400] }
    expect(denominator(row, { before: limits })).toBe('100 GOP/s, 25 % of f32 peak')
    const wide = { ...limits, int16_vnni: [400, 800] }
    expect(denominator(row, { before: wide })).toBe('100 GOP/s, 13 % of int16 peak')
  })

  it('divides each row of a series in parts by the limits of its part, and lists them all', () => {
    const slow = { before: { read: [10, 25] } }
    const first = { ...decodeRow([100], [50]), work, limits: slow }
    const text = report(resultsOf(first, { ...decodeRow([100], [50]), work }))
    expect(text).toContain('20 GB/s, 80 % of read bandwidth')
    expect(text).toContain('20 GB/s, 50 % of read bandwidth')
    expect(text.match(/read \d+ \/ \d+ GB/g)).toEqual([
      'read 10 / 25 GB',
      'read 20 / 40 GB',
      'read 18 / 30 GB',
    ])
  })

  it('says what a barrier of the thread pool takes, where that was measured', () => {
    const results = resultsOf(decodeRow([100], [50]))
    expect(report(results)).not.toContain('thread pool')
    results.limits.after = { read: [18, 30], barrier_us: [0.01, 0.45] }
    expect(report(results)).toContain('GOP/s; a barrier of the thread pool 0.01 / 0.45 us.')
  })

  it('gives no share where the limits were not measured', () => {
    expect(denominator({ ...decodeRow([100], []), work }, {})).toBe('20 GB/s')
  })

  it('gives a batch no share when its sequences never decoded together', () => {
    const row = { ...decodeRow([100], [50], { kind: 'batch' }), work }
    const [ours] = row.drivers
    const rated = (value: number) => {
      const rate = { median: value, min: value, max: value, p99: value, count: 1 }
      return {
        ...row,
        drivers: [{ ...ours, extra: { 'decoding tokens/s': rate } }] as typeof row.drivers,
      }
    }
    expect(denominator(rated(0), resultsOf().limits)).toBe('')
    expect(denominator(rated(20), resultsOf().limits)).toContain('30 GOP/s decoding')
  })

  it('does not count the busy neighbour of a case as another program', () => {
    const row = decodeRow([100], [50])
    const loud = { ...row, drivers: row.drivers.map((d) => ({ ...d, foreignCpus: [0.75] })) }
    expect(report(resultsOf(loud))).toContain('at most 0.75 CPUs')
    const busy = { ...loud, case: { ...row.case, busy: true } }
    expect(report(resultsOf(busy))).toContain('at most 0.00 CPUs')
  })

  it('shows no number for a void time', () => {
    const text = report(resultsOf(decodeRow([77], [50], { tokens: 9 })))
    expect(text).toContain('void: expected 9 tokens')
    expect(text).not.toContain('77')
  })

  it('says why a case was not run', () => {
    const row = { ...decodeRow([], []), drivers: [], skipped: 'no tokenizer' }
    expect(report(resultsOf(row))).toContain('not run: no tokenizer')
  })

  it('says why a peer has no figure', () => {
    const row = { ...decodeRow([77], []), failed: { peer: 'an empty | table' } }
    expect(report(resultsOf(row))).toMatch(/77.* \| failed: an empty \/ table \|/)
  })

  it('says how much CPU other programs took', () => {
    expect(report(resultsOf(decodeRow([1], [1])))).toContain('at most 0.25 CPUs')
  })

  it('lists the other measurements as median and p99', () => {
    expect(details(resultsOf(decodeRow([1], [1])))).toContain('first token ms | 5 / 5 | 5 / 5')
  })
})

describe('insert', () => {
  it('replaces what stands between the marks and nothing else', () => {
    expect(insert('a <!-- bench -->old<!-- /bench --> z', 'new\n')).toBe(
      'a <!-- bench -->\nnew\n<!-- /bench --> z',
    )
  })

  it('refuses a document without marks', () => {
    expect(() => insert('text', 'new')).toThrow('<!-- bench -->')
  })
})
