// One case on one engine inside a fresh process: warm-up, then the repetitions.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import type { Case, Sample } from './case.js'
import type { Driver, OpenOptions, Runtime, Stream, StreamRequest, ToolDriver } from './driver.js'
import { pieceGaps, tokenGaps } from './gaps.js'
import { endedChildSeconds } from './machine.js'
import { mainThreadSeconds, replay } from './replay.js'
import { median } from './statistics.js'
import { documents, prompt } from './text.js'

export interface Job {
  row: Case
  driver: string
  file: string
  vocabulary: number
  round: number
}

interface Measured {
  values: number[]
  extra: Record<string, number[]>
  tokens: number[]
  /** Names an answer that has only one right value. */
  exactDigest?: string
}

const promptOf = (row: Case, seed: number, index: number, vocabulary: number): Int32Array => {
  const { promptTokens, sharedTokens = 0 } = row
  const own = prompt(promptTokens, seed + index, vocabulary)
  own.set(prompt(promptTokens, seed, vocabulary).subarray(0, sharedTokens))
  return own
}

// Seeds differ between rounds and repetitions, so that no prefix cache helps anyone.
const requests = ({ row, vocabulary, round }: Job, repetition: number): StreamRequest[] =>
  Array.from({ length: row.sequences }, (_, index) => ({
    prompt: promptOf(row, 10_000 * round + 100 * repetition, index, vocabulary),
    tokens: row.tokens,
    awaited: row.awaited ?? false,
  }))

const warmUpTokens = 16
const warmUpRepetition = 99

const warmUpPromptTokens = 16
const crossingWarmUpTokens = 128

// All streams, but short: touches every weight and page, compiles the consumers.
const shortened = (job: Job, tokens: number): StreamRequest[] =>
  requests(job, warmUpRepetition).map((request) => ({
    ...request,
    prompt: request.prompt.slice(0, warmUpPromptTokens),
    tokens,
  }))

// What leaves the shared tokens of all prompts in a cache.
const aboutShared = (job: Job, repetition: number): StreamRequest => {
  const [request] = requests(job, repetition)
  if (!request) throw new Error('Expected a sequence')
  return { ...request, prompt: request.prompt.slice(0, job.row.sharedTokens), tokens: 1 }
}

const firstAt = ({ arrivals }: Stream): number => arrivals[0]?.at ?? Number.NaN
const lastAt = ({ arrivals }: Stream): number => arrivals.at(-1)?.at ?? Number.NaN
const total = (streams: readonly Stream[]): number =>
  streams.reduce((sum, { tokens }) => sum + tokens.length, 0)

// Tokens that arrived after the first piece, over the time since it.
const decodeRate = (stream: Stream): number => {
  const later = stream.tokens.length - (stream.arrivals[0]?.tokens ?? 0)
  return (later * 1000) / (lastAt(stream) - firstAt(stream))
}

const single = async (job: Job, runtime: Runtime): Promise<Measured> => {
  const { row } = job
  const result: Measured = { values: [], extra: { 'first token ms': [] }, tokens: [] }
  if (row.kind === 'decode') result.extra['between pieces ms'] = []
  const [warmUp] = requests(job, warmUpRepetition)
  if (warmUp) await runtime.generate({ ...warmUp, tokens: warmUpTokens })
  for (let repetition = 0; repetition < row.repetitions; repetition++) {
    const [request] = requests(job, repetition)
    if (!request) break
    const stream = await runtime.generate(request)
    const waited = firstAt(stream) - stream.start
    result.extra['first token ms']?.push(waited)
    result.extra['between pieces ms']?.push(...pieceGaps(stream))
    result.values.push(
      row.kind === 'decode' ? decodeRate(stream) : (row.promptTokens * 1000) / waited,
    )
    if (repetition === 0) result.tokens = stream.tokens
  }
  return result
}

// The rate while every stream is decoding: from the last first piece to the first end.
const steadyRate = (streams: readonly Stream[]): number => {
  const from = Math.max(...streams.map(firstAt))
  const to = Math.min(...streams.map(lastAt))
  const inside = streams
    .flatMap(({ arrivals }) => arrivals)
    .filter(({ at }) => at > from && at <= to)
    .reduce((sum, { tokens }) => sum + tokens, 0)
  return (inside * 1000) / (to - from)
}

const batch = async (job: Job, runtime: Runtime): Promise<Measured> => {
  const result: Measured = {
    values: [],
    extra: {
      'decoding tokens/s': [],
      'first token ms': [],
      'between pieces ms': [],
      'longest gap of tokens ms': [],
    },
    tokens: [],
  }
  await runtime.parallel(shortened(job, 2))
  for (let repetition = 0; repetition < job.row.repetitions; repetition++) {
    if (job.row.warm) await runtime.generate(aboutShared(job, repetition))
    const start = performance.now()
    const streams = await runtime.parallel(requests(job, repetition))
    result.values.push((total(streams) * 1000) / (performance.now() - start))
    result.extra['decoding tokens/s']?.push(steadyRate(streams))
    result.extra['first token ms']?.push(...streams.map((s) => firstAt(s) - s.start))
    result.extra['between pieces ms']?.push(...streams.flatMap(pieceGaps))
    result.extra['longest gap of tokens ms']?.push(Math.max(...streams.flatMap(tokenGaps)))
    if (repetition === 0) result.tokens = streams.flatMap(({ tokens }) => tokens)
  }
  return result
}

const idleMs = 1000
const milliseconds = 1e6

const loop = async (job: Job, runtime: Runtime): Promise<Measured> => {
  await runtime.parallel(shortened(job, 2))
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  await setTimeout(idleMs)
  histogram.disable()
  const idle = histogram.percentile(99) / milliseconds
  histogram.reset()
  histogram.enable()
  const start = performance.now()
  const streams = await runtime.parallel(requests(job, 0))
  const wall = performance.now() - start
  histogram.disable()
  return {
    values: [histogram.percentile(99) / milliseconds],
    extra: {
      'idle p99 ms': [idle],
      'p50 ms': [histogram.percentile(50) / milliseconds],
      'max ms': [histogram.max / milliseconds],
      'tokens/s': [(total(streams) * 1000) / wall],
    },
    tokens: streams.flatMap(({ tokens }) => tokens),
  }
}

// How often the main thread has gone to sleep: each time, something woke it.
const mainThreadSleeps = (): number => {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN)
}

// The CPU time of the main thread, what the kernel takes to wake it included; beside it what Node
// calls the active time of its event loop, which also counts waiting for a processor.
const crossing = async (job: Job, runtime: Runtime): Promise<Measured> => {
  await runtime.parallel(shortened(job, crossingWarmUpTokens))
  const result: Measured = {
    values: [],
    extra: {
      'active us': [],
      'wake-ups': [],
      'step us': [],
      'pieces per token': [],
      'tokens/s': [],
    },
    tokens: [],
  }
  for (let repetition = 0; repetition < job.row.repetitions; repetition++) {
    const work = requests(job, repetition)
    const steps = runtime.steps()
    const cpu = await mainThreadSeconds()
    const sleeps = mainThreadSleeps()
    const start = performance.now()
    const loopBefore = performance.eventLoopUtilization()
    const streams = await runtime.parallel(work)
    const { active } = performance.eventLoopUtilization(loopBefore)
    const wall = performance.now() - start
    const wakeUps = mainThreadSleeps() - sleeps
    const used = (await mainThreadSeconds()) - cpu
    const taken = steps === undefined ? job.row.tokens : (runtime.steps() ?? 0) - steps
    const pieces = streams.reduce((sum, { arrivals }) => sum + arrivals.length, 0)
    result.values.push((used * 1e6) / taken)
    result.extra['active us']?.push((active * 1000) / taken)
    result.extra['wake-ups']?.push(wakeUps / taken)
    result.extra['step us']?.push((wall * 1000) / taken)
    result.extra['pieces per token']?.push(pieces / total(streams))
    result.extra['tokens/s']?.push((total(streams) * 1000) / wall)
    if (repetition === 0) result.tokens = streams.flatMap(({ tokens }) => tokens)
  }
  return result
}

const tokenize = async (job: Job, runtime: Runtime): Promise<Measured> => {
  const texts = documents(job.row.text ?? 'english')
  const result: Measured = { values: [], extra: { 'MB/s': [] }, tokens: [] }
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const hash = createHash('sha256')
  for (const text of texts) hash.update(Int32Array.from(runtime.tokenize(text)))
  for (let repetition = 0; repetition < job.row.repetitions; repetition++) {
    let count = 0
    const start = performance.now()
    for (const text of texts) count += runtime.tokenize(text).length
    const seconds = (performance.now() - start) / 1000
    result.values.push(count / 1e6 / seconds)
    result.extra['MB/s']?.push(bytes / 1e6 / seconds)
  }
  return { ...result, exactDigest: hash.digest('hex').slice(0, 16) }
}

const settledMs = 2000

const privateMiB = (): number => {
  const status = readFileSync('/proc/self/status', 'utf8')
  return Number(/RssAnon:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024
}

const loadCase = async (job: Job, open: () => Promise<Runtime>): Promise<Measured> => {
  const start = performance.now()
  const runtime = await open()
  const ready = performance.now() - start
  const [request] = requests(job, 0)
  if (!request) throw new Error('Expected one sequence')
  const stream = await runtime.generate(request)
  // What an engine has put off until after it was ready is a part of its memory.
  await runtime.generate({ ...request, tokens: warmUpTokens })
  await setTimeout(settledMs)
  const result: Measured = {
    values: [firstAt(stream) - start],
    extra: {
      'ready ms': [ready],
      'private MiB': [privateMiB()],
      'peak MiB': [process.resourceUsage().maxRSS / 1024],
    },
    tokens: stream.tokens,
  }
  await runtime.close()
  return result
}

const kinds = { decode: single, prefill: single, batch, loop, crossing, tokenize } as const

const openOptions = ({ row, file }: Job): OpenOptions => ({
  file,
  threads: row.threads,
  sequences: row.sequences,
  contextTokens: row.contextTokens ?? row.promptTokens + row.tokens + warmUpTokens,
  vocabularyOnly: row.kind === 'tokenize',
})

/** Runs the job and says what it measured. */
export const measure = async (job: Job): Promise<Sample> => {
  const { row } = job
  const driver: Driver | ToolDriver = await import(`./drivers/${job.driver}.js`)
  if ('measure' in driver) return driver.measure(job)
  let version = ''
  let detail = ''
  const open = async (): Promise<Runtime> => {
    const runtime = await driver.open(openOptions(job))
    version = runtime.version
    detail = runtime.detail
    return runtime
  }
  let measured: Measured
  if (row.kind === 'replay') {
    const { whole, readers } = await replay(row.sequences, 10 * row.repetitions)
    const values = [median(whole) - median(readers)]
    measured = { values, extra: { 'whole us': whole, 'readers us': readers }, tokens: [] }
  } else if (row.kind === 'load') measured = await loadCase(job, open)
  else {
    const runtime = await open()
    try {
      measured = await kinds[row.kind](job, runtime)
    } finally {
      await runtime.close()
    }
  }
  const { values, extra, tokens, exactDigest } = measured
  const digest = createHash('sha256').update(Int32Array.from(tokens)).digest('hex').slice(0, 16)
  const { user, system } = process.cpuUsage()
  return {
    version,
    detail,
    values,
    extra,
    answer: { digest: exactDigest ?? digest, exact: exactDigest !== undefined, tokens },
    cpuSeconds: (user + system) / 1e6 + endedChildSeconds(), // a server is a child
  }
}
