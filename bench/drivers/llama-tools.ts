// Peers that are programs: llama-bench and llama-batched-bench of llama.cpp and its forks. They time
// themselves and give no tokens, so an answer cannot be compared. Built elsewhere; the folder of
// the binaries is named by an environment variable.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Case, Sample } from '../case.js'
import type { ToolDriver } from '../driver.js'
import { endedChildSeconds } from '../machine.js'
import type { Job } from '../measure.js'

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
  cpuSeconds: number
}

const runTool = (tools: Tools, name: ToolName, args: readonly string[]): Run => {
  const folder = toolsFolder(tools)
  if (folder === undefined) throw new Error(`Expected $${tools.variable} to name a folder`)
  const before = endedChildSeconds()
  const { status, stdout, stderr, error } = spawnSync(
    join(folder, name),
    [...args, ...tools.flags[name]],
    { encoding: 'utf8', maxBuffer: 1 << 26 },
  )
  if (status !== 0) {
    throw new Error(`${name} ended with ${error?.message ?? status}: ${stderr?.slice(-300)}`)
  }
  return { output: stdout, log: stderr, cpuSeconds: endedChildSeconds() - before }
}

interface BenchRow {
  build_commit: string
  samples_ts: number[]
}

const benchRow = (value: unknown): BenchRow => {
  const row = value as Partial<BenchRow> | undefined
  if (!Array.isArray(row?.samples_ts)) throw new Error('Expected samples_ts from llama-bench')
  return { build_commit: String(row.build_commit), samples_ts: row.samples_ts }
}

/** What llama-bench prints for `-o json`; log lines may stand before it. */
export const parseBench = (output: string): BenchRow => {
  const rows: unknown = JSON.parse(output.slice(output.indexOf('[\n')))
  return benchRow(Array.isArray(rows) ? rows.at(-1) : undefined)
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

const single = (tools: Tools, { row, file }: Job): Sample => {
  const work =
    row.kind === 'prefill'
      ? ['-p', String(row.promptTokens), '-n', '0']
      : tools.decodeArguments(row.promptTokens, row.tokens)
  const options = ['-m', file, '-t', String(row.threads), '-r', String(row.repetitions)]
  const { output, cpuSeconds } = runTool(tools, 'llama-bench', [...options, ...work, '-o', 'json'])
  const { samples_ts: values, build_commit: version } = parseBench(output)
  return { version, detail: tools.flags['llama-bench'].join(' '), values, extra: {}, cpuSeconds }
}

const batch = (tools: Tools, { row, file }: Job): Sample => {
  const { promptTokens, sharedTokens = 0, tokens, sequences, threads } = row
  const isShared = sharedTokens === promptTokens
  if (sharedTokens > 0 && !isShared) throw new Error('Expected the whole prompt to be shared')
  // Without --kv-unified each sequence needs room for its prompt, shared or not.
  const positions = sequences * (promptTokens + tokens)
  const { output, log, cpuSeconds } = runTool(tools, 'llama-batched-bench', [
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
    cpuSeconds,
  }
}

/** The kinds of cases that the programs can measure. */
export const toolKinds: readonly Case['kind'][] = ['decode', 'prefill', 'batch']

/** A driver of such programs. */
export const driverOf = (tools: Tools): ToolDriver => ({
  measure: async (job) => {
    if (!toolKinds.includes(job.row.kind)) {
      throw new Error(`Expected one of ${toolKinds.join(', ')} but received "${job.row.kind}"`)
    }
    return job.row.kind === 'batch' ? batch(tools, job) : single(tools, job)
  },
})
