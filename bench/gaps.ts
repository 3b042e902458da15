// How long a stream stood still, from when its pieces arrived. Pure.
import type { Arrival, Stream } from './driver.js'

type Arrivals = Pick<Stream, 'arrivals'>

const between = (arrivals: readonly Arrival[]): Array<[gap: number, tokens: number]> =>
  arrivals.slice(1).map(({ at, tokens }, index) => [at - (arrivals[index]?.at ?? at), tokens])

/** Milliseconds between pieces. */
export const pieceGaps = ({ arrivals }: Arrivals): number[] => between(arrivals).map(([gap]) => gap)

/**
 * Milliseconds between tokens, one for each piece but the first: tokens that came in one piece, their
 * text held until its UTF-8 was whole, share the gap before it; text alone counts as one.
 */
export const tokenGaps = ({ arrivals }: Arrivals): number[] =>
  between(arrivals).map(([gap, tokens]) => gap / Math.max(1, tokens))
