import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { headerBytes } from '../../bench/gguf-writer.js'
import { everyHeader, sampleFile } from '../support/gguf-samples.js'
import { mutated } from '../support/mutations.js'
import type { Outcome } from '../support/open-each.js'
import { tinyEntries, tinyModel, tinyTensors } from '../support/tiny-model.js'

const count = 500
const child = join(import.meta.dirname, '../support/open-each.ts')

interface Run {
  signal: string | null
  status: number | null
  lastLine: string
  errors: string
  outcomes: Outcome[]
}

const openEach = (folder: string): Run => {
  const { signal, status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--import', 'tsx', child, folder],
    { encoding: 'utf8', maxBuffer: 1 << 26 },
  )
  const lines = stdout.trim().split('\n')
  const outcomes = lines
    .map((line) => line.slice(line.indexOf('{')))
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Outcome)
  return { signal, status, lastLine: lines.at(-1) ?? '', errors: stderr, outcomes }
}

const folder = mkdtempSync(join(tmpdir(), 'millrace-corrupt-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe(`${count} damaged model files`, () => {
  let run: Run

  beforeAll(() => {
    const tiny = tinyModel()
    const tinyHeader = headerBytes({ entries: tinyEntries, tensors: tinyTensors }).length
    const sample = sampleFile()
    const sampleHeader = headerBytes(everyHeader).length
    // The vocabulary fills most of the tiny model's header: two mutations of three stay off it.
    const structure = headerBytes({ entries: tinyEntries.slice(0, 14), tensors: [] }).length
    for (let i = 0; i < count; i++) {
      const bytes =
        i % 5 === 0
          ? mutated(sample, sampleHeader, i)
          : mutated(tiny, i % 3 === 0 ? tinyHeader : structure, i)
      writeFileSync(join(folder, `${String(i).padStart(3, '0')}.gguf`), bytes)
    }
    writeFileSync(join(folder, 'whole.gguf'), tiny)
    run = openEach(folder)
  }, 300_000)

  test('do not end the process that opens them', () => {
    expect(run.signal, `died at ${run.lastLine}\n${run.errors}`).toBeNull()
    expect(run.status, run.errors).toBe(0)
    expect(run.outcomes).toHaveLength(count + 1)
  })

  test('each open or fail with a code', () => {
    const known = new Set([
      'ok',
      'bad-file',
      'unsupported',
      'out-of-memory',
      'not-found',
      'too-long',
    ])
    for (const { file, ...codes } of run.outcomes) {
      for (const code of Object.values(codes)) expect(known, `${file}: ${code}`).toContain(code)
    }
  })

  test('fare the same mapped and read', () => {
    expect(run.outcomes.filter(({ mapped, read }) => mapped !== read)).toEqual([])
  })

  test('are mostly refused, while the whole file opens and computes', () => {
    const refused = run.outcomes.filter(({ mapped }) => mapped !== 'ok')
    expect(refused.length).toBeGreaterThan(count / 4)
    expect(run.outcomes.at(-1)).toEqual({
      file: 'whole.gguf',
      mapped: 'ok',
      read: 'ok',
      vocabulary: 'ok',
      logits: 'ok',
      answer: 'ok',
    })
  })
})
