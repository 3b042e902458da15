import { describe, expect, it } from 'vitest'
import { driverOf, parseBatched, parseBench, type Tools } from '../../bench/drivers/llama-tools.js'
import { decodeCase } from './sample-results.js'
import { standIn } from './stand-in.js'

const job = {
  rows: [decodeCase],
  driver: 'llama-cpp',
  file: 'model.gguf',
  vocabulary: 512,
  round: 0,
}
const tools: Tools = {
  variable: 'MILLRACE_BENCH_TEST_TOOLS',
  flags: { 'llama-bench': [], 'llama-batched-bench': [], 'llama-server': [] },
  decodeArguments: (depth, tokens) => ['-p', '0', '-n', String(tokens), '-d', String(depth)],
}

// Says of each prompt that it made as many tokens per second, and a tenth of the depth of a decode.
const program = `#!${process.execPath}
const value = (name) => process.argv[process.argv.indexOf(name) + 1]
const test = (n_prompt, rate) => ({ build_commit: 'abc', n_prompt, samples_ts: [rate] })
const tests = value('-n') === '0'
  ? value('-p').split(',').map((tokens) => test(Number(tokens), Number(tokens)))
  : [test(0, Number(value('-d')) / 10)]
console.log(JSON.stringify(tests, null, 1))
`

describe('programs as drivers', () => {
  it('reads the samples of llama-bench, whatever stands before them', () => {
    const text = 'warning: one\n[\n  {"build_commit": "abc", "samples_ts": [50.5, 49]}\n]\n'
    expect(parseBench(text)).toMatchObject([{ build_commit: 'abc', samples_ts: [50.5, 49] }])
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
    await expect(driverOf(tools).measure({ ...job, rows: [row] })).rejects.toThrow('"load"')
  })
})

describe.skipIf(process.platform === 'win32')('a sitting of such a program', () => {
  standIn(tools, 'llama-bench', program)
  const row = (kind: 'decode' | 'prefill', promptTokens: number) => ({
    ...decodeCase,
    kind,
    promptTokens,
  })

  it('gives each case its own sample', async () => {
    const rows = [row('decode', 40), row('prefill', 512), row('prefill', 128)]
    const samples = await driverOf(tools).measure({ ...job, rows })
    expect(samples.map(({ values }) => values)).toEqual([[4], [512], [128]])
  })
})
