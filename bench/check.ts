// Finds losses against earlier results of the same kind of machine. Pure.
import type { Results, Row } from './results.js'

export interface Loss {
  name: string
  before: number
  after: number
  /** 0.05: five hundredths slower. */
  loss: number
}

export const tolerance = 0.03

// How many times better `after` is than `before`.
const gain = (row: Row, before: number, after: number): number =>
  row.case.better === 'higher' ? after / before : before / after

/**
 * Cases in which the first driver lost more than the tolerance. A shared machine's own speed drifts
 * by more than that, so where both results have a peer, the loss is the smaller one of the absolute
 * loss and the loss against the peer, which ran in turn.
 */
export const losses = (before: Results, after: Results): Loss[] =>
  after.rows.flatMap((row) => {
    const earlier = before.rows.find(({ case: { name } }) => name === row.case.name)
    const [was] = earlier?.drivers ?? []
    const [is] = row.drivers
    if (!was || !is || was.driver !== is.driver || was.void || is.void) return []
    const gains = [gain(row, was.value.median, is.value.median)]
    if (earlier?.ratio && row.ratio && earlier.peer === row.peer)
      gains.push(row.ratio.median / earlier.ratio.median)
    const loss = 1 - Math.max(...gains)
    if (!(loss > tolerance)) return []
    return [{ name: row.case.name, before: was.value.median, after: is.value.median, loss }]
  })

/** How many cases both results have a time of. */
export const compared = (before: Results, after: Results): number =>
  after.rows.filter(
    ({ case: { name }, drivers }) =>
      drivers.length > 0 && before.rows.some((row) => row.case.name === name && row.drivers[0]),
  ).length

/**
 * The results that later ones are compared with: of each case, the newest row that has a time; of one
 * day, that of the first results.
 */
export const newestOf = (results: readonly Results[]): Results | undefined => {
  const newestFirst = results.toSorted((a, b) => b.date.localeCompare(a.date))
  const [newest] = newestFirst
  if (!newest) return undefined
  const rows = new Map<string, Row>()
  for (const row of newestFirst.flatMap((one) => one.rows))
    if (row.drivers.length > 0 && !rows.has(row.case.name)) rows.set(row.case.name, row)
  return { ...newest, rows: [...rows.values()] }
}

/** Cases that keep no promise: not run, a void time, or a limit passed. */
export const failures = (results: Results): string[] =>
  results.rows.flatMap(({ case: row, drivers: [ours], skipped }) => {
    if (!ours) return [`${row.name}: not run, ${skipped ?? 'no engine'}`]
    if (ours.void) return [`${row.name}: void, ${ours.void}`]
    const { median } = ours.value
    if (row.limit === undefined || median <= row.limit) return []
    return [`${row.name}: expected at most ${row.limit} ${row.unit} but measured ${median}`]
  })
