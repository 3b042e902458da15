// Peers that are programs: llama-bench and llama-batched-bench of llama.cpp and its forks. They time
// themselves and give no tokens, so an answer cannot be compared. Built elsewhere; the folder of
// the binaries is named by an environment variable.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Case, Sample } from '../case.js'
import type { ToolDriver } from '../driver.js'

type ToolName = 'llama-bench' | 'llama-batched-bench' | 'llama-server'

export interface Tools {
  /** The variable that names the folder of the binaries. */
  variable: string
  /** Added to each call. */
  flags: Record<ToolName, readonly string[]>
  /** How llama-bench is asked for `tokens` after `depth` positions. */
  decodeArguments(depth: number, tokens: number): string[]
}

/** The folder of the binaries, or undefined where nobody built them. */
export const toolsFolder = ({ variable }: Tools): string | undefined =>
  process.env[variable] || undefined

interface Run {
  output: string
  /** Its log; ik_llama.cpp's llama-batched-bench prints its table there. */
  log: string
}

const runTool = (tools: Tools, name: ToolName, args: readonly string[]): Run => {
  const folder = toolsFolder(tools)
  if (folder === undefined) throw new Error(`Expected $${tools.variable} to name a folder`)
  const { status, stdout, stderr, error } = spawnSync(
    join(folder, name),
    [...args, ...tools.flags[name]],
    { encoding: 'utf8', maxBuffer: 1 << 26 },
  )
  if (status !== 0) {
    throw new Error(`${name} ended with ${error?.message ?? status}: ${stderr?.slice(-300)}`)
  }
  return { output: stdout, log: stderr }
}

export interface BenchRow {
  build_commit: string
  n_prompt: number
  samples_ts: number[]
}

const benchRow = (value: unknown): BenchRow => {
  const row = value as Partial<BenchRow> | undefined
  if (!Array.isArray(row?.samples_ts)) throw new Error('Expected samples_ts from llama-bench')
  const { build_commit, n_prompt, samples_ts } = row
  return { build_commit: String(build_commit), n_prompt: Number(n_prompt), samples_ts }
}

/** What llama-bench prints for `-o json`, a row for each test; log lines may stand before it. */
export const parseBench = (output: string): BenchRow[] => {
  const rows: unknown = JSON.parse(output.slice(output.indexOf('[\n')))
  return Array.isArray(rows) ? rows.map(benchRow) : []
}

export interface BatchedRow {
  /** Seconds of prefill, of decoding, and tokens per second while decoding. */
  prefillSeconds: number
  decodeSeconds: number
  decodeRate: number
}

/** The last line of the table: PP, TG, B, N_KV, T_PP, S_PP, T_TG, S_TG, T, S. */
export const parseBatched = (output: string): BatchedRow => {
  const line = output
    .split('\n')
    .filter((text) => /^\|\s*\d/.test(text))
    .at(-1)
  const cells = line?.split('|').slice(1, -1).map(Number) ?? []
  const [, , , , prefillSeconds, , decodeSeconds, decodeRate] = cells
  if (cells.length !== 10 || !prefillSeconds || !decodeSeconds || !decodeRate) {
    throw new Error(`Expected a table of ten columns but received "${output.slice(-200)}"`)
  }
  return { prefillSeconds, decodeSeconds, decodeRate }
}

const bench = (tools: Tools, file: string, row: Case, tests: readonly string[]): BenchRow[] => {
  const options = ['-m', file, '-t', String(row.threads), '-r', String(row.repetitions)]
  return parseBench(runTool(tools, 'llama-bench', [...options, ...tests, '-o', 'json']).output)
}

const benchSample = (tools: Tools, row: BenchRow | undefined): Sample => {
  if (!row) throw new Error('Expected a row of llama-bench for each test')
  const { build_commit: version, samples_ts: values } = row
  return { version, detail: tools.flags['llama-bench'].join(' '), values, extra: {} }
}

// All of them at once: the program opens the file once.
const prefills = (tools: Tools, file: string, rows: readonly Case[]): Sample[] => {
  const [first] = rows
  if (!first) return []
  const tests = ['-p', rows.map((row) => row.promptTokens).join(), '-n', '0']
  const measured = bench(tools, file, first, tests)
  return rows.map(({ promptTokens }) => {
    const own = measured.find(({ n_prompt }) => n_prompt === promptTokens)
    return benchSample(tools, own)
  })
}

const decode = (tools: Tools, file: string, row: Case): Sample => {
  const tests = tools.decodeArguments(row.promptTokens, row.tokens)
  return benchSample(tools, bench(tools, file, row, tests).at(-1))
}

const batch = (tools: Tools, file: string, row: Case): Sample => {
  const { promptTokens, sharedTokens = 0, tokens, sequences, threads } = row
  const isShared = sharedTokens === promptTokens
  if (sharedTokens > 0 && !isShared) throw new Error('Expected the whole prompt to be shared')
  // Without --kv-unified each sequence needs room for its prompt, shared or not.
  const positions = sequences * (promptTokens + tokens)
  const { output, log } = runTool(tools, 'llama-batched-bench', [
    ...['-m', file, '-t', String(threads), '-tb', String(threads)],
    ...['-c', String(positions + 64), '-b', '2048', '-ub', '512'],
    ...['-npp', String(promptTokens), '-ntg', String(tokens), '-npl', String(sequences)],
    ...(isShared ? ['-pps'] : []),
  ])
  const { prefillSeconds, decodeSeconds, decodeRate } = parseBatched(`${output}\n${log}`)
  return {
    version: '',
    detail: tools.flags['llama-batched-bench'].join(' '),
    values: [(tokens * sequences) / (prefillSeconds + decodeSeconds)],
    extra: { 'decoding tokens/s': [decodeRate] },
  }
}

/** The kinds of cases that the programs can measure. */
export const toolKinds: readonly Case['kind'][] = ['decode', 'prefill', 'batch']

/** A driver of such programs. */
export const driverOf = (tools: Tools): ToolDriver => ({
  measure: async ({ rows, file }) => {
    const other = rows.find(({ kind }) => !toolKinds.includes(kind))
    if (other) {
      throw new Error(`Expected one of ${toolKinds.join(', ')} but received "${other.kind}"`)
    }
    const prompts = rows.filter(({ kind }) => kind === 'prefill')
    const samples = new Map(prefills(tools, file, prompts).map((one, i) => [prompts[i], one]))
    return rows.map(
      (row) => samples.get(row) ?? (row.kind === 'batch' ? batch : decode)(tools, file, row),
    )
  },
})
