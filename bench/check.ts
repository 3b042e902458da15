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

/** Cases that keep no promise: a void time, or a limit passed. */
export const failures = (results: Results): string[] =>
  results.rows.flatMap(({ case: row, drivers: [ours] }) => {
    if (!ours) return []
    if (ours.void) return [`${row.name}: void, ${ours.void}`]
    const { median } = ours.value
    if (row.limit === undefined || median <= row.limit) return []
    return [`${row.name}: expected at most ${row.limit} ${row.unit} but measured ${median}`]
  })
