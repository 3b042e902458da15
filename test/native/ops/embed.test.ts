import { describe, expect, it } from 'vitest'
import { at, normals, ops, sameBits, tables } from '../../support/ops.js'

const types = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_K', 'Q6_K', 'IQ4_NL', 'MXFP4']
const [rows, cols] = [9, 512]

describe.each(tables)('embed on the %s table', (table) => {
  it.each(types)('decodes and scales the rows of a %s table', (dtype) => {
    const data = ops.encodeRow(dtype, normals(1, rows * cols))
    const values = ops.decodeRow(dtype, data, rows * cols)
    const tokens = Int32Array.of(8, 0, 3, 3)
    const out = new Float32Array(tokens.length * cols)
    ops.opsEmbed({ table, dtype, rows, cols, data, tokens, scale: 1.5, out })
    const expected = Float32Array.from(out, (_, i) =>
      Math.fround(at(values, at(tokens, Math.floor(i / cols)) * cols + (i % cols)) * 1.5),
    )
    expect(sameBits(out, expected)).toBe(true)
  })

  it('takes the tokens that were drawn where it is told so, 0 for none', () => {
    const data = ops.encodeRow('Q8_0', normals(1, rows * cols))
    const rowsOf = (tokens: Int32Array, drawn?: Int32Array): Float32Array => {
      const out = new Float32Array(tokens.length * cols)
      ops.opsEmbed({ table, dtype: 'Q8_0', rows, cols, data, tokens, drawn, scale: 1, out })
      return out
    }
    const found = rowsOf(Int32Array.of(8, -1, 2, -3, -2), Int32Array.of(3, 7, -1))
    expect(sameBits(found, rowsOf(Int32Array.of(8, 3, 2, 0, 7)))).toBe(true)
    expect(() => rowsOf(Int32Array.of(-4), Int32Array.of(3, 7, -1))).toThrow(
      `Expected a token id below ${rows} but found -4`,
    )
  })

  it.each([-1, rows])('refuses token %i', (token) => {
    const data = ops.encodeRow('F32', normals(1, rows * cols))
    const out = new Float32Array(cols)
    const tokens = Int32Array.of(token)
    const call = { table, dtype: 'F32', rows, cols, data, tokens, scale: 1, out }
    expect(() => ops.opsEmbed(call)).toThrow(`Expected a token id below ${rows} but found ${token}`)
  })
})
