// Results as they are stored: one file per machine kind and day. Pure.
import type { Case, Sample } from './case.js'
import type { Limits, Machine } from './machine.js'
import { median, rounded, type Spread, spread } from './statistics.js'

export interface DriverResult {
  driver: string
  version: string
  detail: string
  value: Spread
  extra: Record<string, Spread>
  /** Median of each round, for ratios of neighbours in time. */
  rounds: number[]
  /** CPUs that other programs used meanwhile, and steal. */
  foreignCpus: number[]
  digests: string[]
  /** Why the times do not count. */
  void?: string
}

export interface Work {
  /** Weight bytes read for one generated token. */
  bytesPerToken: number
  /** Operations (2 per multiply-add) of one prompt token, and of the output head. */
  layerOperations: number
  headOperations: number
}

export interface Row {
  case: Case
  work?: Work
  drivers: DriverResult[]
  /** How many times better the first driver is than the best of the others: over rounds. */
  ratio?: Spread
  /** Which of the others that is. */
  peer?: string
  /** Leading greedy tokens that both gave, of all: information, the weights are random. */
  agreement?: string
  skipped?: string
  /** Why a peer gave no more figures, by driver. */
  failed?: Record<string, string>
  /** Those of the row's part of a series that was measured in parts; else the results' own. */
  limits?: PartLimits
}

/** What the machine could do before and after its rows were measured. */
export interface PartLimits {
  before?: Limits
  after?: Limits
}

export interface Results {
  date: string
  commit: string
  machine: Machine
  /** Of the last part. */
  limits: PartLimits
  rows: Row[]
}

/** One process of a series. */
export interface Run {
  driver: string
  sample: Sample
  foreignCpus: number
}

const roundedSpread = (values: readonly number[]): Spread => {
  const all = spread(values)
  return {
    median: rounded(all.median),
    min: rounded(all.min),
    max: rounded(all.max),
    p99: rounded(all.p99),
    count: all.count,
  }
}

const driverResult = (driver: string, runs: readonly Run[]): DriverResult => {
  const [first] = runs
  const names = Object.keys(first?.sample.extra ?? {})
  return {
    driver,
    version: first?.sample.version ?? '',
    detail: first?.sample.detail ?? '',
    value: roundedSpread(runs.flatMap(({ sample }) => sample.values)),
    extra: Object.fromEntries(
      names.map((name) => [
        name,
        roundedSpread(runs.flatMap(({ sample }) => sample.extra[name] ?? [])),
      ]),
    ),
    rounds: runs.map(({ sample }) => rounded(median(sample.values))),
    foreignCpus: runs.map(({ foreignCpus }) => rounded(foreignCpus)),
    digests: [...new Set(runs.flatMap(({ sample }) => sample.answer?.digest ?? []))],
  }
}

const ratio = (row: Case, ours: DriverResult, theirs: DriverResult): Spread => {
  const pairs = ours.rounds.map((value, round) => {
    const other = theirs.rounds[round] ?? Number.NaN
    return row.better === 'higher' ? value / other : other / value
  })
  return roundedSpread(pairs.filter(Number.isFinite))
}

const best = (row: Case, results: readonly DriverResult[]): DriverResult | undefined =>
  results
    .filter((result) => result.void === undefined)
    .sort((a, b) =>
      row.better === 'higher' ? b.value.median - a.value.median : a.value.median - b.value.median,
    )[0] ?? results[0]

const leadingEqual = (a: readonly number[], b: readonly number[]): number => {
  const end = a.findIndex((token, index) => token !== b[index])
  return end < 0 ? a.length : end
}

// An exact answer has one right value; the others need the right number of tokens.
const voidReason = (row: Case, result: DriverResult, runs: readonly Run[]): string | undefined => {
  const own = runs.filter(({ driver }) => driver === result.driver)
  if (own.some(({ sample }) => sample.answer?.exact)) {
    const reference = runs.findLast(({ driver }) => driver !== result.driver)
    const expected = reference?.sample.answer?.digest ?? result.digests[0]
    const differs = result.digests.some((digest) => digest !== expected)
    return differs ? `the answer differs from ${reference?.driver ?? 'itself'}` : undefined
  }
  const expected = row.tokens * row.sequences
  const short = own
    .flatMap(({ sample }) => sample.answer ?? [])
    .find((answer) => answer.tokens.length !== expected)
  return short && `expected ${expected} tokens but received ${short.tokens.length}`
}

/** Joins the processes of one case. */
export const summarize = (row: Case, runs: readonly Run[], work?: Work): Row => {
  const names = row.drivers.filter((name) => runs.some(({ driver }) => driver === name))
  const drivers = names.map((name) => {
    const own = runs.filter(({ driver }) => driver === name)
    const result = driverResult(name, own)
    const reason = voidReason(row, result, runs)
    return reason === undefined ? result : { ...result, void: reason }
  })
  const summary: Row = { case: row, drivers }
  if (work) summary.work = work
  const [ours] = drivers
  const theirs = best(row, drivers.slice(1))
  if (!ours || !theirs) return summary
  summary.ratio = ratio(row, ours, theirs)
  summary.peer = theirs.driver
  const answers = [ours, theirs].map(({ driver }) => {
    const tokens = runs.find((run) => run.driver === driver)?.sample.answer?.tokens
    return tokens?.slice(0, row.tokens)
  })
  if (row.tokens > 0 && answers.every((tokens) => tokens !== undefined)) {
    summary.agreement = `${leadingEqual(answers[0] ?? [], answers[1] ?? [])} of ${row.tokens}`
  }
  return summary
}
