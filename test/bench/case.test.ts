import { describe, expect, it } from 'vitest'
import { matching, quick, sittings } from '../../bench/case.js'
import { batch } from '../../bench/cases/batch.js'
import { crossing } from '../../bench/cases/crossing.js'
import { decode } from '../../bench/cases/decode.js'
import { prefill } from '../../bench/cases/prefill.js'
import { serve } from '../../bench/cases/serve.js'
import { requests, warmUp } from '../../bench/requests.js'
import { documents, prompt } from '../../bench/text.js'

const all = [...decode, ...prefill, ...batch, ...serve, ...crossing]

describe('cases', () => {
  it('are chosen by every word, in any case of letters', () => {
    expect(matching(all, ['decode', 'q4_0', 'TinyLlama-1.1B']).map(({ name }) => name)).toEqual([
      'decode tinyllama-1.1b Q4_0 at 128',
    ])
    expect(matching(all, ['prefill', '512'])).toHaveLength(10)
  })

  it('are all chosen without words, none by a word nobody knows', () => {
    expect(matching(all, [])).toHaveLength(all.length)
    expect(matching(all, ['decode', 'nothing'])).toEqual([])
  })

  it('have names of their own', () => {
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length)
  })

  it('shrink for a trial and keep their name', () => {
    for (const row of all) {
      const small = quick(row)
      expect(small.name).toBe(row.name)
      expect(small.rounds * small.repetitions).toBe(1)
      expect(small.sharedTokens ?? 0).toBeLessThanOrEqual(small.promptTokens)
      expect(small.promptTokens * small.tokens).toBeLessThanOrEqual(row.promptTokens * row.tokens)
    }
  })
})

describe('sittings', () => {
  const names = (words: string[]) =>
    sittings(matching(all, words)).map((rows) => rows.map(({ name }) => name))

  it('have the cases of one stream and one file together', () => {
    expect(names(['decode,prefill', 'qwen3-0.6b', 'Q4_0'])).toEqual([
      [
        'decode qwen3-0.6b Q4_0 at 128',
        'prefill qwen3-0.6b Q4_0 of 128',
        'prefill qwen3-0.6b Q4_0 of 512',
      ],
      ['decode qwen3-0.6b Q4_0 at 2048'],
      ['decode qwen3-0.6b Q4_0 at 128, a busy neighbour'],
    ])
  })

  it('have each other case alone, and every case once', () => {
    for (const rows of sittings([...batch, ...serve, ...crossing])) expect(rows).toHaveLength(1)
    expect(sittings(all).flat()).toHaveLength(all.length)
  })

  it('ask for no prompt twice', () => {
    const [rows = []] = sittings(matching(all, ['decode,prefill', 'qwen3-0.6b', 'Q4_0']))
    const parts = rows.map((row, index) => ({ row, vocabulary: 151936, round: 1, index }))
    const asked = [
      warmUp(parts),
      ...parts.flatMap((part) => [0, 1].flatMap((n) => requests(part, n))),
    ]
    const openings = asked.map((request) => request.prompt.slice(0, 32).join())
    expect(new Set(openings).size).toBe(asked.length)
  })
})

describe('inputs', () => {
  it('are the same for the same seed and begin differently for another', () => {
    expect(prompt(32, 5, 151936)).toEqual(prompt(32, 5, 151936))
    const firsts = new Set(Array.from({ length: 64 }, (_, seed) => prompt(2, seed, 151936).join()))
    expect(firsts.size).toBe(64)
  })

  it('stay inside the vocabulary', () => {
    for (const token of prompt(500, 1, 512)) {
      expect(token).toBeGreaterThanOrEqual(260)
      expect(token).toBeLessThan(512)
    }
  })

  it('cut documents of 8 kB and a line at line ends', () => {
    const parts = documents('chinese')
    expect(parts.length).toBeGreaterThan(10)
    for (const part of parts.slice(0, -1)) {
      expect(part.endsWith('\n')).toBe(true)
      expect(part.length).toBeGreaterThan(8192)
      expect(part.indexOf('\n', 8192)).toBe(part.length - 1)
    }
  })
})
