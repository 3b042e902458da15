// `millrace bench <model>`: how fast it reads and writes on this machine.

import type { Command } from 'commander'
import { Engine } from '../engine.js'
import { Model } from '../model.js'
import {
  addEngineOptions,
  bytes,
  type EngineArguments,
  engineOptionsOf,
  integer,
  modelArgument,
  table,
} from './arguments.js'

interface BenchOptions extends EngineArguments {
  prompt: number
  tokens: number
  sequences: number
  repeats: number
  json?: boolean
}

/** Tokens per second, one number per repeat. */
export interface BenchRates {
  prefill: number[]
  decode: number[]
}

/** The middle, and what lies around it: "12.3 (12.1 to 12.6)". */
export function spread(values: number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (i: number) => (sorted[i] ?? Number.NaN).toPrecision(4)
  return `${at(Math.floor(sorted.length / 2))} (${at(0)} to ${at(sorted.length - 1)})`
}

// Prompts that share no prefix: any ids do, as long as they differ between runs.
function promptOf(length: number, vocabularySize: number, salt: number): Int32Array {
  let state = (salt * 2654435761) >>> 0
  return Int32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * vocabularySize)
  })
}

/** One round of all sequences at once; rates over the whole round. */
async function measure(engine: Engine, options: BenchOptions, salt: number) {
  const { vocabularySize } = engine.model.info
  const start = performance.now()
  let firstTokens = 0
  const all = await Promise.all(
    Array.from({ length: options.sequences }, async (_, i) => {
      const prompt = promptOf(options.prompt, vocabularySize, salt * 1000 + i + 1)
      const request = { prompt, temperature: 0, ignoreEos: true, maxTokens: options.tokens }
      const completion = await engine.generate(request)
      firstTokens = Math.max(firstTokens, completion.timings.firstTokenMs)
      return completion
    }),
  )
  const seconds = (performance.now() - start) / 1000
  const prefillSeconds = firstTokens / 1000
  const written = all.reduce((sum, one) => sum + one.usage.completionTokens, 0)
  return {
    prefill: (options.prompt * options.sequences) / prefillSeconds,
    decode: (written - options.sequences) / Math.max(seconds - prefillSeconds, 1e-9),
  }
}

async function bench(source: string, options: BenchOptions): Promise<void> {
  await using model = await Model.open(source)
  const length = options.prompt + options.tokens
  if (length > model.info.contextLength) {
    throw new TypeError(
      `Expected --prompt + --tokens to be at most ${model.info.contextLength} but received ${length}`,
    )
  }
  await using engine = await Engine.open(model, {
    ...engineOptionsOf(options),
    maxSequences: options.sequences,
    cacheTokens: options.sequences * (length + 64),
  })
  const rates: BenchRates = { prefill: [], decode: [] }
  await measure(engine, options, 0) // warm-up
  for (let i = 1; i <= options.repeats; i++) {
    const { prefill, decode } = await measure(engine, options, i)
    rates.prefill.push(prefill)
    rates.decode.push(decode)
  }
  print(model, engine, options, rates)
}

function print(model: Model, engine: Engine, options: BenchOptions, rates: BenchRates): void {
  const { info } = model
  const { device, hardware, threads, ops, whyNoGpu } = engine.stats()
  if (options.json) {
    console.log(
      JSON.stringify({
        model: info.name,
        quantization: info.quantization,
        ...options,
        device,
        hardware,
        threads,
        ops,
        whyNoGpu,
        rates,
      }),
    )
    return
  }
  const middle = rates.decode.toSorted((a, b) => a - b)[Math.floor(rates.decode.length / 2)] ?? 0
  const read = (middle / options.sequences) * info.sizeBytes
  console.log(
    table([
      ['model', `${info.name} ${info.quantization}, ${bytes(info.sizeBytes)}`],
      ['runs on', device === 'cpu' ? `${ops}, ${threads} threads` : `${device}, ${hardware}`],
      ...(whyNoGpu === undefined ? [] : [['no GPU', whyNoGpu] as [string, string]]),
      ['sequences', `${options.sequences}, ${options.prompt} + ${options.tokens} tokens each`],
      ['prefill', `${spread(rates.prefill)} tokens/s`],
      ['decode', `${spread(rates.decode)} tokens/s`],
      ['weights read', `${bytes(read)}/s while decoding`],
    ]),
  )
}

export function addBench(program: Command): void {
  const command = program
    .command('bench')
    .description('measure tokens per second: median, and the spread of the repeats')
    .argument('<model>', modelArgument)
    .option('-p, --prompt <n>', 'prompt tokens', integer(1), 256)
    .option('-n, --tokens <n>', 'tokens to write, at least 2', integer(2), 64)
    .option('-s, --sequences <n>', 'sequences at once', integer(1), 1)
    .option('-r, --repeats <n>', 'rounds after the warm-up', integer(1), 5)
    .option('--json', 'print one JSON object')
  addEngineOptions(command).action(bench)
}
