// The chain against a twin in double precision that sorts everything and takes no shortcut.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { tables } from '../../support/ops.js'
import { probe } from '../../support/probe.js'
import { isSanitized } from '../../support/sanitized.js'

interface Sampling {
  temperature?: number
  topK?: number
  topP?: number
  minP?: number
  seed?: number
  repetitionPenalty?: number
  presencePenalty?: number
  frequencyPenalty?: number
  logitBias?: [number, number][]
  logprobs?: number
}
interface State {
  position: number
  prompt?: Int32Array
  output?: Int32Array
}
interface Target {
  target: number
  nTop: number
}
interface Draw {
  token: number
  logprob: number
  top: [number, number][]
  code: string
}
const { drawTokens, expOf, uniform } = probe<{
  drawTokens(
    table: string,
    logits: Float32Array,
    sampling: Sampling,
    states: (State | Target)[],
  ): Draw[]
  expOf(x: number): number
  uniform(seed: number, n: number): Float64Array
}>()

interface Sampler {
  table: string
  drawToken: (logits: Float32Array, sampling: Sampling, state: State | Target) => Draw
  /** At positions 0 to n. */
  drawMany: (logits: Float32Array, sampling: Sampling, n: number) => number[]
  /** Draws that tell distributions apart, and cases, in a time one waits for. */
  enough: number
  cases: number
}

const samplers: Sampler[] = tables.map((table) => ({
  table,
  drawToken: (logits, sampling, state) => {
    const [draw] = drawTokens(table, logits, sampling, [state])
    if (!draw) throw new Error('Expected a draw')
    return draw
  },
  drawMany: (logits, sampling, n) => {
    const states = Array.from({ length: n }, (_, position) => ({ position }))
    return drawTokens(table, logits, sampling, states).map(({ token }) => token)
  },
  enough: table === 'cuda' ? 300 : 40_000,
  cases: table === 'cuda' ? 50 : 1000,
}))

interface Choice {
  token: number
  weight: number
}

const at = (values: ArrayLike<number>, i: number): number => values[i] ?? Number.NaN

function changed(logits: Float32Array, sampling: Sampling, state: State): Float64Array {
  const out = Float64Array.from(logits)
  for (const [token, bias] of sampling.logitBias ?? [])
    out[token] = Math.fround(at(out, token) + bias)
  const counts = new Map<number, number>()
  for (const token of state.prompt ?? []) counts.set(token, 0)
  for (const token of state.output ?? []) counts.set(token, (counts.get(token) ?? 0) + 1)
  const repetition = sampling.repetitionPenalty ?? 1
  for (const [token, count] of counts) {
    const logit = at(out, token)
    const repeated = logit > 0 ? logit / repetition : logit * repetition
    const present = count > 0 ? (sampling.presencePenalty ?? 0) : 0
    out[token] = repeated - present - (sampling.frequencyPenalty ?? 0) * count
  }
  return out
}

/** What may be chosen, with weights that need not add up to one; by token. */
function choices(logits: Float64Array, sampling: Sampling): Choice[] {
  const temperature = sampling.temperature ?? 1
  const highest = Math.max(...logits)
  let kept = Array.from(logits, (logit, token) => ({
    token,
    weight: Math.exp((logit - highest) / temperature),
  }))
  kept.sort((a, b) => b.weight - a.weight || a.token - b.token)
  if (sampling.topK) kept = kept.slice(0, sampling.topK)
  if (sampling.topP !== undefined && sampling.topP < 1) {
    const wanted = sampling.topP * kept.reduce((sum, { weight }) => sum + weight, 0)
    let sum = 0
    const last = kept.findIndex(({ weight }) => {
      sum += weight
      return sum >= wanted
    })
    kept = kept.slice(0, last + 1)
  }
  if (sampling.minP) kept = kept.filter(({ weight }) => weight >= (sampling.minP ?? 0))
  return kept.sort((a, b) => a.token - b.token)
}

/** The token at u in the cumulative distribution, and how near u is to where it would change. */
function pick(kept: Choice[], u: number): { token: number; slack: number } {
  const total = kept.reduce((sum, { weight }) => sum + weight, 0)
  let sum = 0
  for (const { token, weight } of kept) {
    const before = sum / total
    sum += weight
    if (sum > u * total) return { token, slack: Math.min(sum / total - u, u - before) }
  }
  return { token: -1, slack: 0 }
}

function logSumExp(logits: Float32Array): number {
  const highest = Math.max(...logits)
  return highest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - highest), 0))
}

// Logits like a model's: a few likely tokens, many unlikely ones, some exactly equal.
function logitsOf(seed: number, n: number): Float32Array {
  const u = uniform(seed + 1000, 2 * n)
  return Float32Array.from({ length: n }, (_, i) => {
    const gauss =
      Math.sqrt(-2 * Math.log(1 - at(u, 2 * i))) * Math.cos(2 * Math.PI * at(u, 2 * i + 1))
    return Math.round(gauss * 64 * 2.5) / 64
  })
}

describe.each(samplers)('temperature 0 on $table', ({ drawToken, cases }) => {
  test('is the arg-max', () => {
    const logits = logitsOf(1, 5000)
    logits[3210] = 40
    expect(drawToken(logits, { temperature: 0 }, { position: 0 }).token).toBe(3210)
  })

  test('gives ties to the lower token, wherever they stand', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { minLength: 1, maxLength: 100 }), (values) => {
        const expected = values.indexOf(Math.max(...values))
        const draw = drawToken(Float32Array.from(values), { temperature: 0 }, { position: 0 })
        expect(draw.token).toBe(expected)
      }),
      { numRuns: cases / 10 },
    )
  })

  test('sees bias and penalties', () => {
    const logits = Float32Array.of(1, 3, 2)
    const state = { position: 3, prompt: Int32Array.of(2), output: Int32Array.of(1, 1) }
    const greedy = (sampling: Sampling) =>
      drawToken(logits, { ...sampling, temperature: 0 }, state).token
    expect(greedy({})).toBe(1)
    expect(greedy({ logitBias: [[0, 2.5]] })).toBe(0)
    expect(greedy({ presencePenalty: 1.5 })).toBe(2)
    expect(greedy({ frequencyPenalty: 0.6 })).toBe(2)
    expect(greedy({ repetitionPenalty: 4 })).toBe(0) // the prompt counts too
  })
})

describe.each(samplers)('the chain on $table', ({ drawToken, cases }) => {
  const sampling = fc.record({
    temperature: fc.constantFrom(0.3, 0.7, 1, 1.5, 4),
    topK: fc.constantFrom(0, 0, 1, 5, 40, 300),
    topP: fc.constantFrom(1, 1, 0.1, 0.5, 0.9, 0.999),
    minP: fc.constantFrom(0, 0, 0.01, 0.1, 0.5),
    seed: fc.nat(1 << 30),
    repetitionPenalty: fc.constantFrom(1, 1.2),
    presencePenalty: fc.constantFrom(0, 0.7),
    frequencyPenalty: fc.constantFrom(0, 0.3),
  })

  test('chooses the token of the twin that sorts everything', () => {
    let compared = 0
    fc.assert(
      fc.property(sampling, fc.nat(50), fc.constantFrom(7, 600, 2000), (options, seed, n) => {
        const logits = logitsOf(seed, n)
        const tokens = Int32Array.from({ length: 12 }, (_, i) => (i * i + seed) % n)
        const state = { position: 17, prompt: tokens.slice(0, 5), output: tokens.slice(5) }
        const kept = choices(changed(logits, options, state), options)
        const expected = pick(kept, at(uniform(options.seed, 18), 17))
        const draw = drawToken(logits, options, state)
        expect(kept.map(({ token }) => token)).toContain(draw.token)
        if (expected.slack < 1e-5) return // the twin's own rounding decides
        compared++
        expect(draw.token).toBe(expected.token)
      }),
      { numRuns: cases },
    )
    expect(compared).toBeGreaterThan(0.9 * cases)
  })
})

describe.each(samplers)('draws on $table', ({ drawToken, drawMany, enough }) => {
  test.skipIf(isSanitized).each<[string, Sampling]>([
    ['temperature 1', {}],
    ['temperature 0.5', { temperature: 0.5 }],
    ['top-k 10', { topK: 10 }],
    ['top-p 0.8', { topP: 0.8 }],
    ['min-p 0.1', { minP: 0.1, temperature: 2 }],
    ['all of them', { temperature: 1.3, topK: 20, topP: 0.9, minP: 0.02 }],
  ])('with %s draws each token as often as the twin says', (_, options) => {
    const logits = logitsOf(3, 200)
    const n = enough
    const drawn = new Map<number, number>()
    for (const token of drawMany(logits, { ...options, seed: 5 }, n)) {
      drawn.set(token, (drawn.get(token) ?? 0) + 1)
    }
    const kept = choices(Float64Array.from(logits), options)
    const total = kept.reduce((sum, { weight }) => sum + weight, 0)
    for (const token of drawn.keys())
      expect(kept.some((choice) => choice.token === token)).toBe(true)
    // Rare tokens share one bin.
    const bins: [expected: number, observed: number][] = [[0, 0]]
    for (const { token, weight } of kept) {
      const expected = (n * weight) / total
      const observed = drawn.get(token) ?? 0
      const rest = bins[0] ?? [0, 0]
      if (expected >= 10) bins.push([expected, observed])
      else bins[0] = [rest[0] + expected, rest[1] + observed]
    }
    const used = bins.filter(([expected]) => expected >= 5)
    const chiSquare = used.reduce((sum, [e, o]) => sum + (o - e) ** 2 / e, 0)
    const freedom = used.length - 1
    expect(freedom).toBeGreaterThan(1)
    // Wilson and Hilferty's bound for p = 0.0005.
    const bound = freedom * (1 - 2 / (9 * freedom) + 3.29 * Math.sqrt(2 / (9 * freedom))) ** 3
    expect(chiSquare).toBeLessThan(bound)
  })

  test('gives the same token for the same seed and position, and others for others', () => {
    const logits = logitsOf(4, 1000)
    const draws = Array.from(drawMany(logits, { seed: 77 }, 64))
    for (const position of [0, 13, 63]) {
      expect(drawToken(logits, { seed: 77 }, { position }).token).toBe(at(draws, position))
    }
    expect(Array.from(drawMany(logits, { seed: 78 }, 64))).not.toEqual(draws)
  })

  test('keeps one token for top-p 0, top-k 1 and min-p 1, ties to the lower', () => {
    const logits = Float32Array.of(0, 2, 2, 1)
    for (const seed of [1, 2, 3, 4, 5]) {
      expect(drawToken(logits, { topP: 0, seed }, { position: 0 }).token).toBe(1)
      expect(drawToken(logits, { topK: 1, seed }, { position: 0 }).token).toBe(1)
      expect([1, 2]).toContain(drawToken(logits, { minP: 1, seed }, { position: 0 }).token)
    }
  })

  test('never draws a token that bias made impossible', () => {
    const logits = new Float32Array(50)
    const tokens = drawMany(logits, { logitBias: [[7, -1000]], seed: 3 }, 2000)
    expect(tokens).not.toContain(7)
    expect(new Set(tokens).size).toBe(49)
  })
})

describe.each(samplers)('log-probabilities on $table', ({ drawToken }) => {
  test('are those of the raw logits, whatever the chain does to them', () => {
    const logits = logitsOf(5, 3000)
    const sampling = {
      temperature: 3,
      topK: 50,
      logitBias: [[3, 5]] as [number, number][],
      repetitionPenalty: 1.5,
      logprobs: 20,
    }
    const state = { position: 4, prompt: Int32Array.of(3, 9), output: Int32Array.of(11, 12) }
    const normalizer = logSumExp(logits)
    for (let position = 0; position < 50; position++) {
      const draw = drawToken(logits, sampling, { ...state, position })
      expect(draw.logprob).toBeCloseTo(at(logits, draw.token) - normalizer, 5)
      const sorted = Array.from(logits, (logit, token) => ({ logit, token }))
      sorted.sort((a, b) => b.logit - a.logit || a.token - b.token)
      expect(draw.top.map(([token]) => token)).toEqual(
        sorted.slice(0, 20).map(({ token }) => token),
      )
      draw.top.forEach(([token, logprob]) => {
        expect(logprob).toBeCloseTo(at(logits, token) - normalizer, 5)
      })
    }
  })

  test('of a score name the target and as many alternatives as asked, up to all', () => {
    const logits = logitsOf(6, 777)
    const normalizer = logSumExp(logits)
    const sorted = Array.from(logits, (logit, token) => ({ logit, token }))
    sorted.sort((a, b) => b.logit - a.logit || a.token - b.token)
    for (const nTop of [0, 1, 32, 200, 777]) {
      const draw = drawToken(logits, {}, { target: 400, nTop })
      expect(draw.logprob).toBeCloseTo(at(logits, 400) - normalizer, 5)
      expect(draw.top.map(([token]) => token)).toEqual(
        sorted.slice(0, nTop).map(({ token }) => token),
      )
    }
    const all = drawToken(logits, {}, { target: -1, nTop: 777 }).top
    const sum = all.reduce((total, [, logprob]) => total + Math.exp(logprob), 0)
    expect(sum).toBeCloseTo(1, 5)
  })

  test.each([Number.NaN, Number.POSITIVE_INFINITY])('of a row with %f are refused', (value) => {
    const logits = logitsOf(7, 100).fill(value)
    expect(drawToken(logits, {}, { position: 0 }).code).toBe('bad-file')
    expect(drawToken(logits, { temperature: 0 }, { position: 0 }).code).toBe('bad-file')
    expect(drawToken(logits, {}, { target: 3, nTop: 1 }).code).toBe('bad-file')
    const among = logitsOf(8, 100)
    among[41] = value
    for (const sampling of [{}, { temperature: 0 }, { topK: 5 }, { topP: 0.5 }, { logprobs: 2 }])
      expect(drawToken(among, sampling, { position: 0 }).code).toBe('bad-file')
    expect(drawToken(among, {}, { target: 3, nTop: 1 }).code).toBe('bad-file')
  })
})

test('the exponential is within 2e-7 of the truth, and 0 where it would vanish', () => {
  for (let x = -86.99; x <= 0; x += 0.0137) {
    const truth = Math.exp(Math.fround(x))
    expect(Math.abs(expOf(x) - truth)).toBeLessThanOrEqual(2e-7 * truth)
  }
  expect(expOf(0)).toBe(1)
  for (const x of [-87.5, -1000, Number.NEGATIVE_INFINITY, Number.NaN]) expect(expOf(x)).toBe(0)
})
