import { describe, expect, it } from 'vitest'
import { pieceGaps, tokenGaps } from '../../bench/gaps.js'

const stream = {
  arrivals: [
    { at: 100, tokens: 4 },
    { at: 130, tokens: 1 },
    { at: 730, tokens: 3 },
    { at: 740, tokens: 0 },
  ],
}

describe('gaps of a stream', () => {
  it('lie between its pieces, the wait for the first left out', () => {
    expect(pieceGaps(stream)).toEqual([30, 600, 10])
  })

  it('are shared by the tokens of the piece that ends them', () => {
    expect(tokenGaps(stream)).toEqual([30, 200, 10])
  })

  it('are none where there is at most one piece', () => {
    expect(tokenGaps({ arrivals: [{ at: 1, tokens: 9 }] })).toEqual([])
    expect(pieceGaps({ arrivals: [] })).toEqual([])
  })
})
