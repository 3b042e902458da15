// What the runner believes of the instructions that kernels use: against the PTX ISA's definition
// where that is short, and against what devices were seen to do.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { buildFolder } from '../../support/probe.js'
import { projectRoot } from '../../support/sources.js'

const program = join(buildFolder, 'gpu-probe')
const built = existsSync(program)
const results = join(projectRoot, 'bench/results')
const records = readdirSync(results).filter((name) => existsSync(join(results, name, 'probe.txt')))

/** The words of each line: `name lane: word word`. */
function linesOf(text: string): Map<string, number[][]> {
  const found = new Map<string, number[][]>()
  for (const line of text.split('\n')) {
    const [, name, words] = /^(\S+) \d+: (.*)$/.exec(line) ?? []
    if (name === undefined || words === undefined) continue
    const rows = found.get(name) ?? []
    rows.push(words.split(' ').map((word) => Number.parseInt(word, 16)))
    found.set(name, rows)
  }
  return found
}

const believed = built ? linesOf(execFileSync(program, { encoding: 'utf8' })) : new Map()
const smallestNormal = 2 ** -126 // a device may flush what is below
const floatOf = (bits: number): number => new Float32Array(Uint32Array.of(bits).buffer)[0] ?? 0

describe.skipIf(!built)('the runner', () => {
  // Row r of the 32 holds the values 8r to 8r + 7.
  const pair = (low: number, high: number): number => high * 2 ** 16 + low

  it('loads matrices as the PTX ISA says', () => {
    const expected = Array.from({ length: 32 }, (_, lane) => {
      const [row, column] = [Math.floor(lane / 4), (lane % 4) * 2]
      const matrices = [0, 1, 2, 3].map((matrix) => matrix * 64)
      return [
        ...matrices.map((first) => {
          const at = first + row * 8 + column
          return pair(at, at + 1)
        }),
        ...matrices.map((first) => {
          const at = first + column * 8 + row
          return pair(at, at + 8)
        }),
      ]
    })
    expect(believed.get('matrices')).toEqual(expected)
  })

  it('fills what is absent from a copy with zeros', () => {
    const expected = Array.from({ length: 32 }, (_, lane) =>
      [0, 2, 4, 6].map((i) => (lane % 3 === 0 ? 0 : pair(lane * 8 + i, lane * 8 + i + 1))),
    )
    expect(believed.get('copies')).toEqual(expected)
  })

  it('copies in bulk what was there, twice', () => {
    const words = (first: number) => [0, 2, 4, 6].map((i) => pair(first + i, first + i + 1))
    const expected = Array.from({ length: 32 }, (_, lane) => [
      ...words(lane * 8),
      ...words(256 + lane * 8),
    ])
    expect(believed.get('group-bulk')).toEqual(expected)
  })

  // A device that a later session had, each with a file of its own.
  it.skipIf(records.length === 0).each(records)('does what the device of %s did', (record) => {
    const seen = linesOf(readFileSync(join(results, record, 'probe.txt'), 'utf8'))
    const isHoppers = (name: string) => name.startsWith('group-')
    const expected = [...believed.keys()].filter((name) => seen.has(name) || !isHoppers(name))
    expect([...seen.keys()]).toEqual(expected)
    for (const [name, lines] of seen) {
      if (name !== 'about') {
        expect(believed.get(name), name).toEqual(lines)
        continue
      }
      for (const [i, line] of lines.entries())
        for (const [j, bits] of line.entries()) {
          const [a, b] = [floatOf(bits), floatOf(believed.get(name)?.[i]?.[j] ?? 0)]
          const areTiny = Math.abs(a) < smallestNormal && Math.abs(b) < smallestNormal
          if (!Object.is(a, b) && !areTiny) {
            expect(Math.abs(a - b) / Math.abs(b)).toBeLessThan(1e-5)
          }
        }
    }
  })
})
