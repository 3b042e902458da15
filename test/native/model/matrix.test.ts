import { describe, expect, test } from 'vitest'
import { ops } from '../../support/ops.js'
import { probe } from '../../support/probe.js'

const native = probe<{
  packLater(table: string, weight: Uint8Array, rows: number, cols: number, by: string): number
  rests(table: string, weight: Uint8Array, rows: number, cols: number): boolean
  isLeftUnpacked(table: string, weight: Uint8Array, rows: number, cols: number): boolean
}>()

const cols = 1024
const row = ops.encodeRow(
  'Q8_0',
  Float32Array.from({ length: 17 * cols }, (_, i) => Math.sin(i * 12.9898)),
)
// Rows that repeat after seventeen.
const weight = (rows: number): Uint8Array => {
  const bytes = new Uint8Array((row.length / 17) * rows)
  for (let at = 0; at < bytes.length; at += row.length) {
    bytes.set(row.subarray(0, Math.min(row.length, bytes.length - at)), at)
  }
  return bytes
}
const tables = ops.matmulTables().filter((table) => ops.packedBytes(table, 'Q8_0', 16, cols) > 0)

describe.each(tables)('a matrix of %s', (table) => {
  test.each(['thread', 'both', 'pool'])('gives the same bits while the %s packs it', (by) => {
    const rows = 20_003
    const count = native.packLater(table, weight(rows), rows, cols, by)
    if (by === 'pool') expect(count).toBe(0)
    else expect(count).toBeGreaterThanOrEqual(0)
  })

  test('is not packed while a prompt wants the machine', () => {
    const rows = 100_000
    expect(native.rests(table, weight(rows), rows, cols)).toBe(true)
  })

  test('is not packed to the end when nobody wants it any more', () => {
    const rows = 100_000
    expect(native.isLeftUnpacked(table, weight(rows), rows, cols)).toBe(true)
  })
})
