import { describe, expect, it } from 'vitest'
import { driverOf, parseBatched, parseBench, type Tools } from '../../bench/drivers/llama-tools.js'
import { decodeCase } from './sample-results.js'

const job = {
  row: decodeCase,
  driver: 'llama-cpp',
  file: 'model.gguf',
  vocabulary: 512,
  round: 0,
}
const tools: Tools = {
  variable: 'MILLRACE_BENCH_TEST_TOOLS',
  flags: { 'llama-bench': [], 'llama-batched-bench': [], 'llama-server': [] },
  decodeArguments: () => [],
}

describe('programs as drivers', () => {
  it('reads the samples of llama-bench, whatever stands before them', () => {
    const text = 'warning: one\n[\n  {"build_commit": "abc", "samples_ts": [50.5, 49]}\n]\n'
    expect(parseBench(text)).toEqual({ build_commit: 'abc', samples_ts: [50.5, 49] })
  })

  it('refuses what has no samples', () => {
    expect(() => parseBench('[\n  {"build_commit": "abc"}\n]\n')).toThrow('samples_ts')
  })

  it('reads the last line of the table of llama-batched-bench', () => {
    const head =
      '|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |'
    const line =
      '|   256 |     32 |    8 |    512 |    1.50 |   170.0 |   2.00 |   128.0 |  3.50 |  146.0 |'
    expect(parseBatched(`log\n${head}\n|----|\n${line}\n\nend\n`)).toEqual({
      prefillSeconds: 1.5,
      decodeSeconds: 2,
      decodeRate: 128,
    })
  })

  it('refuses another table', () => {
    expect(() => parseBatched('| 1 | 2 |\n')).toThrow('ten columns')
  })

  it('names the variable that says where the programs are', async () => {
    await expect(driverOf(tools).measure(job)).rejects.toThrow('$MILLRACE_BENCH_TEST_TOOLS')
  })

  it('refuses a kind of case that the programs have not', async () => {
    const row = { ...decodeCase, kind: 'load' } as const
    await expect(driverOf(tools).measure({ ...job, row })).rejects.toThrow('"load"')
  })
})
