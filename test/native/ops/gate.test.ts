import { describe, expect, it } from 'vitest'
import { at, normals, ops, sameBits, tables, unit, worst } from '../../support/ops.js'

const activations: Record<string, (x: number) => number> = {
  none: (x) => x,
  silu: (x) => x / (1 + Math.exp(-x)),
  // tanh through expm1, exact where the tanh is close to -1.
  gelu_tanh: (x) => {
    const inner = Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)
    return x / (1 + Math.exp(-2 * inner))
  },
}

function run(table: string, act: string, gate: Float32Array, up: Float32Array, threads = 1) {
  const out = new Float32Array(gate.length)
  ops.opsGate({ table, threads, gate, up, out, act })
  return out
}

describe.each(tables)('gate on the %s table', (table) => {
  it.each(Object.keys(activations))('agrees with float64 for %s', (act) => {
    const n = 5003
    const gate = normals(1, n, 6)
    gate.set([0, -0, 1e-20, -1e-20, 80, -80, 30, -30, 1e30])
    const up = normals(2, n)
    const activation = activations[act] as (x: number) => number
    const expected = Float64Array.from(gate, (g, i) => activation(g) * at(up, i))
    // gelu: near -5, 1 + tanh loses what tanh rounds; the rest keeps a few units.
    const lost = act === 'gelu_tanh' ? 4 * unit : 0
    const bound = (i: number): number =>
      24 * unit * Math.abs(at(expected, i)) * (1 + Math.abs(at(gate, i)) / 8) +
      lost * Math.abs(at(gate, i) * at(up, i)) +
      1e-36
    expect(worst(run(table, act, gate, up), expected, bound)).toBeLessThan(1)
  })

  it('keeps NaN and saturates at the ends', () => {
    const gate = Float32Array.of(Number.NaN, 1000, -1000, Number.POSITIVE_INFINITY)
    const out = run(table, 'silu', gate, new Float32Array(4).fill(1))
    expect(out[0]).toBeNaN()
    expect(out[1]).toBe(1000)
    expect(Math.abs(at(out, 2))).toBeLessThan(1e-30)
    expect(out[3]).toBe(Number.POSITIVE_INFINITY)
  })

  it('gives the same bits in place, in parts and on any number of threads', () => {
    const n = 50001
    const gate = normals(1, n, 6)
    const up = normals(2, n)
    const out = run(table, 'silu', gate, up)
    expect(sameBits(run(table, 'silu', gate, up, 3), out)).toBe(true)
    const part = run(table, 'silu', gate.slice(777, 1999), up.slice(777, 1999))
    expect(sameBits(part, out.slice(777, 1999))).toBe(true)
    ops.opsGate({ table, gate, up, out: gate, act: 'silu' })
    expect(sameBits(gate, out)).toBe(true)
  })

  it('adds and gathers exactly', () => {
    const [x, y] = [normals(3, 1003), normals(4, 1003)]
    const sum = Float32Array.from(x, (value, i) => value + at(y, i))
    ops.opsAdd({ table, x, y })
    expect(sameBits(x, sum)).toBe(true)
    const out = new Float32Array(4 * 17)
    const rows = Int32Array.of(3, 0, 58, 3)
    ops.opsGather({ table, x, rows, dim: 17, out })
    rows.forEach((row, i) => {
      expect(sameBits(out.slice(i * 17, (i + 1) * 17), x.slice(row * 17, (row + 1) * 17))).toBe(
        true,
      )
    })
  })
})
