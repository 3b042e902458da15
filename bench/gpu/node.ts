// What is asked of a machine with a GPU through the public API, in Node: the golden tokens of the
// reference data, the laws of an engine, and the speed of many sequences beside the native job's.
// `npx tsc -p bench/gpu` makes it run where there is Node, dist/, build/Release/millrace.node and the
// library, and nothing else:
//   node build/gpu-node/bench/gpu/node.js --library libmillrace-cuda.so --out results.jsonl
// Options: --golden <folder of the reference data>, --model <of the laws>, --shape llama-3.1-8b
// --type BF16 --sequences 64 --context 1024 --tokens 128 (of the speed), --vocabulary <fewer tokens>,
// --only laws|golden|speed, --small (shorter prompts, for a trial where kernels run on the host).
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import type { Engine, EngineOptions, GenerateRequest, Model } from '../../lib/index.js'
import type { GoldenPrompt, Manifest } from '../../test/support/golden.js'
import { makeModel } from '../make-model.js'
import type { Mix } from '../model-shapes.js'

type Millrace = typeof import('../../lib/index.js')

const { values: given } = parseArgs({
  options: {
    library: { type: 'string' },
    out: { type: 'string' },
    root: { type: 'string', default: fileURLToPath(new URL('../../../../', import.meta.url)) },
    golden: { type: 'string' },
    model: { type: 'string' },
    shape: { type: 'string', default: 'llama-3.1-8b' },
    type: { type: 'string', default: 'BF16' },
    sequences: { type: 'string', default: '64' },
    context: { type: 'string', default: '1024' },
    tokens: { type: 'string', default: '128' },
    vocabulary: { type: 'string' },
    only: { type: 'string' },
    small: { type: 'boolean', default: false },
  },
})

let failures = 0

/** A line for each row, as the native job writes them. */
function report(name: string, row: Record<string, unknown>): void {
  if ('failed' in row) failures++
  console.log(`${name}: ${JSON.stringify(row)}`)
  if (given.out) appendFileSync(given.out, `${JSON.stringify({ name, ...row })}\n`)
}

const bytesOf = (path: string): Buffer => {
  const bytes = readFileSync(path)
  return path.endsWith('.gz') ? gunzipSync(bytes) : bytes
}

const greedy = async (engine: Engine, prompt: number[], maxTokens: number): Promise<number[]> => {
  const request = { prompt, maxTokens, temperature: 0, ignoreEos: true }
  return [...(await engine.generate(request)).tokens]
}

// Logit noise that the reference data allows; what lies nearer than twice that may fall either way.
// Activations are rounded to the type of 16-bit weights.
const noiseOf = (name: string): number =>
  /BF16/.test(name) ? 0.05 : /F32|F16|^[^.]*$/.test(name) ? 2e-3 : 0.4

/** Continuations of every model that the library can open, up to the first near tie. */
async function checkGolden({ Engine }: Millrace, folder: string, scratch: string): Promise<void> {
  const manifest = JSON.parse(bytesOf(join(folder, 'golden/MANIFEST.json')).toString()) as Manifest
  const plain = manifest.models.filter(({ kind }) => kind === 'logits')
  for (const model of [...plain, ...manifest.quant]) {
    const name = `node golden ${model.name}`
    const path = join(scratch, `${model.name}.gguf`)
    writeFileSync(path, bytesOf(join(folder, 'golden', model.model)))
    try {
      await using engine = await Engine.open(path, {
        device: 'cuda',
        cacheType: 'f32',
        cacheTokens: 2048,
      })
      const { prompts } = JSON.parse(
        bytesOf(join(folder, 'golden', model.golden ?? `golden/${model.name}.json.gz`)).toString(),
      ) as { prompts: GoldenPrompt[] }
      let compared = 0
      for (const { ids, greedy: exact } of prompts) {
        const tie = exact.margin.findIndex((margin) => margin <= 2 * noiseOf(model.name))
        const clear = tie < 0 ? exact.ids.length : tie
        if (clear === 0) continue
        const found = await greedy(engine, ids, clear)
        const expected = exact.ids.slice(0, clear)
        if (String(found) !== String(expected))
          throw new Error(`expected ${expected.join(' ')} but drew ${found.join(' ')}`)
        compared += clear
      }
      if (compared > 0) report(name, { tokens_alike: compared })
      else console.log(`${name}: skipped, every first token is a near tie`)
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      // Families and types that the library does not know are no matter of the device.
      if (code === 'unsupported') console.log(`${name}: skipped, ${message}`)
      else report(name, { failed: message })
    }
    rmSync(path)
  }
}

/** Some prompts of different lengths over a vocabulary, the first ones with a common beginning. */
const promptsOver = (vocabulary: number): number[][] =>
  (given.small ? [50, 48, 5, 1] : [300, 290, 17, 1, 129, 64]).map((length, i) =>
    Array.from({ length }, (_, at) => ((at < 40 ? 0 : i * 7919) + at * 31 + 3) % vocabulary),
  )

function requestsOver(vocabulary: number): GenerateRequest[] {
  const maxTokens = given.small ? 4 : 40
  return promptsOver(vocabulary).flatMap((prompt, i) => [
    { prompt, maxTokens, temperature: 0, ignoreEos: true },
    { prompt, maxTokens, temperature: 1, topP: 0.9, seed: i + 1, ignoreEos: true },
  ])
}

/** The same tokens alone, together, after a prefix hit, in chunks, and beside one that is stopped. */
async function checkLaws({ Engine, Model }: Millrace, path: string): Promise<void> {
  await using model: Model = await Model.open(path)
  const wanted = requestsOver(model.info.vocabularySize)
  const draw = async (engine: Engine, request: GenerateRequest): Promise<string> =>
    String([...(await engine.generate(request)).tokens])
  const withEngine = async <T>(
    more: Partial<EngineOptions>,
    body: (engine: Engine) => Promise<T>,
  ): Promise<T> => {
    await using engine = await Engine.open(model, {
      device: 'cuda',
      cacheTokens: given.small ? 2048 : 16384,
      maxSequences: 16,
      ...more,
    })
    const found = await body(engine)
    if (engine.stats().identityHolds !== true) throw new Error('the counts of tokens do not agree')
    return found
  }
  const together = (engine: Engine): Promise<string[]> =>
    Promise.all(wanted.map((request) => draw(engine, request)))
  const alone = await withEngine({}, async (engine) => {
    const found: string[] = []
    for (const [i, request] of wanted.entries())
      found.push(await draw(engine, { ...request, cacheSalt: `${i}` }))
    return found
  })
  const check = (law: string, found: string[]): void => {
    const other = found.findIndex((tokens, i) => tokens !== alone[i])
    if (other < 0) report(`node law ${law}`, { requests: found.length })
    else report(`node law ${law}`, { failed: `request ${other} drew other tokens` })
  }
  await withEngine({}, async (engine) => {
    check('together', await together(engine))
    check('after a prefix hit', await together(engine))
    if (!((engine.stats().cachedTokens ?? 0) > 0)) throw new Error('nothing was found in the cache')
    const stopped = new AbortController()
    const lost = engine.generate({ prompt: [1, 2, 3], maxTokens: 500, signal: stopped.signal })
    setTimeout(() => stopped.abort(), 20)
    check('beside one that is stopped', await together(engine))
    await Promise.resolve(lost).catch(() => undefined)
  })
  check('in chunks', await withEngine({ stepTokens: given.small ? 16 : 24 }, together))
}

/** What the native job found of the same load, if it was here before. */
function nativeFigure(name: string): Record<string, number> {
  if (!given.out || !existsSync(given.out)) return {}
  for (const line of readFileSync(given.out, 'utf8').split('\n')) {
    if (!line.includes(`"name": "${name}`)) continue
    const { tokens_s } = JSON.parse(line) as { tokens_s?: number }
    if (tokens_s !== undefined) return { native_tokens_s: tokens_s }
  }
  return {}
}

/** Tokens per second of many sequences, from when all have begun until the first ends. */
async function decodeRate(engine: Engine, prompts: number[][], tokens: number): Promise<number> {
  let [begun, count, ended] = [0, 0, false]
  let [start, rate] = [0, 0]
  await Promise.all(
    prompts.map(async (prompt) => {
      const request = { prompt, maxTokens: tokens, temperature: 0, ignoreEos: true }
      let own = 0
      for await (const piece of engine.generate(request)) {
        if (own === 0 && ++begun === prompts.length) [start, count] = [performance.now(), 0]
        own += piece.tokens.length
        count += piece.tokens.length
        if (own < tokens || ended) continue
        ended = true
        if (begun === prompts.length) rate = (count / (performance.now() - start)) * 1e3
      }
    }),
  )
  return rate
}

const pageTokens = 32

async function measureSpeed({ Engine, Model }: Millrace, scratch: string): Promise<void> {
  const [sequences, context, tokens] = (['sequences', 'context', 'tokens'] as const).map((name) => {
    const value = Number(given[name])
    if (Number.isInteger(value) && value > 0) return value
    throw new Error(`Expected --${name} to be a positive integer but received "${given[name]}"`)
  }) as [number, number, number]
  const what = `decode ${given.shape} ${given.type} ${sequences} @ ${context}`
  const path = join(scratch, 'model.gguf')
  const start = performance.now()
  makeModel({
    shape: given.shape,
    type: given.type as Mix,
    tokenizer: join(given.root, 'models/brook/brook.gguf'),
    out: path,
    ...(given.vocabulary === undefined ? {} : { vocabulary: Number(given.vocabulary) }),
  })
  const made = performance.now()
  await using model = await Model.open(path)
  await using engine = await Engine.open(model, {
    device: 'cuda',
    cacheType: 'f16',
    maxSequences: sequences,
    cacheTokens: sequences * (context + tokens + 2 * pageTokens), // whole pages of each
  })
  const opened = performance.now()
  const before = context - tokens / 2 // so that it is the context on average
  // Each a run of tokens of its own, known to the cache, so that all begin at once.
  const prompts = Array.from({ length: sequences }, (_, i) =>
    Array.from({ length: before }, (_, at) => (i * 104729 + at * 7919) % model.info.vocabularySize),
  )
  await Promise.all(prompts.map((prompt) => greedy(engine, prompt, 1)))
  const rates: number[] = []
  for (let run = 0; run < 4; run++) rates.push(await decodeRate(engine, prompts, tokens))
  if (rates.includes(0)) throw new Error(`Expected all to begin before one has ${tokens} tokens`)
  const [, ...later] = rates // in the first one kernels are loaded and graphs made
  const tokens_s = later.sort((a, b) => a - b)[1] ?? 0
  const native = nativeFigure(what)
  report(`node ${what}`, {
    tokens_s,
    ...native,
    ...(native.native_tokens_s ? { share: tokens_s / native.native_tokens_s } : {}),
    rates,
    made_s: (made - start) / 1e3,
    opened_s: (opened - made) / 1e3,
  })
}

const parts = ['laws', 'golden', 'speed']

/** One that fails takes nothing else with it. */
async function part(name: string, body: () => Promise<void>): Promise<void> {
  if (given.only !== undefined && given.only !== name) return
  try {
    await body()
  } catch (error) {
    report(`node ${name}`, { failed: (error as Error).message })
  }
}

async function main(): Promise<void> {
  if (given.only !== undefined && !parts.includes(given.only))
    throw new Error(`Expected --only ${parts.join(', ')} but received "${given.only}"`)
  if (given.only === 'golden' && given.golden === undefined)
    throw new Error('Expected --golden <folder of the reference data> beside --only golden')
  if (given.library) process.env.MILLRACE_CUDA_LIBRARY = resolve(given.library)
  const entry = pathToFileURL(join(given.root, 'dist/index.js')).href
  const millrace: Millrace = await import(entry)
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-gpu-'))
  const { golden, model = join(given.root, 'models/brook/brook.gguf') } = given
  try {
    await part('laws', () => checkLaws(millrace, model))
    if (golden !== undefined) await part('golden', () => checkGolden(millrace, golden, scratch))
    await part('speed', () => measureSpeed(millrace, scratch))
  } finally {
    rmSync(scratch, { recursive: true })
  }
  console.log(`${failures} failed`)
  if (failures > 0) process.exitCode = 1
}

await main()
