// Small results with chosen numbers, for the tests of the bench's pure parts.
import type { Case, Sample } from '../../bench/case.js'
import type { Results, Row, Run } from '../../bench/results.js'
import { summarize } from '../../bench/results.js'

export const decodeCase: Case = {
  name: 'decode tiny Q8_0 at 4',
  kind: 'decode',
  shape: 'tiny-test',
  type: 'Q8_0',
  threads: 2,
  promptTokens: 4,
  tokens: 3,
  sequences: 1,
  rounds: 2,
  repetitions: 1,
  drivers: ['millrace', 'peer'],
  unit: 'tokens/s',
  better: 'higher',
}

export const sample = (values: number[], changes: Partial<Sample> = {}): Sample => ({
  version: '1',
  detail: 'cpu',
  values,
  extra: { 'first token ms': [5] },
  answer: { digest: 'a', exact: false, tokens: [1, 2, 3] },
  ...changes,
})

export const run = (driver: string, values: number[], changes: Partial<Sample> = {}): Run => ({
  driver,
  sample: sample(values, changes),
  foreignCpus: 0.25,
})

export const resultsOf = (...rows: Row[]): Results => ({
  date: '2026-01-02',
  commit: 'abc',
  machine: {
    kind: 'test-2c',
    cpu: 'Test CPU',
    cores: 2,
    flags: ['avx2'],
    memoryGiB: 8,
    governor: 'unknown',
    hugePages: 'madvise',
    system: 'linux x64',
    node: 'v20',
    load: [0, 0, 0],
  },
  limits: { before: { read: [20, 40], int8_avx2: [100, 200] }, after: { read: [18, 30] } },
  rows,
})

/** A decode row in which ours and the peer's rounds have these values. */
export const decodeRow = (ours: number[], theirs: number[], changes: Partial<Case> = {}): Row =>
  summarize({ ...decodeCase, ...changes }, [
    ...ours.map((value) => run('millrace', [value])),
    ...theirs.map((value) => run('peer', [value])),
  ])
