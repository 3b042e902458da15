// A sitting on one engine inside a fresh process: a warm-up, then the cases one after the other.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import type { Case, Sample } from './case.js'
import type { Driver, OpenOptions, Runtime, Stream, StreamRequest, ToolDriver } from './driver.js'
import { Floor } from './floor.js'
import { pieceGaps, tokenGaps } from './gaps.js'
import { endedChildSeconds } from './machine.js'
import { mainThreadSeconds, replay } from './replay.js'
import { askedBefore, type Part, requests, shortened, warmUp, warmUpTokens } from './requests.js'
import { median } from './statistics.js'
import { documents } from './text.js'

export interface Job {
  /** Cases of one file; more than one only of one stream. */
  rows: Case[]
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

const firstAt = ({ arrivals }: Stream): number => arrivals[0]?.at ?? Number.NaN
const lastAt = ({ arrivals }: Stream): number => arrivals.at(-1)?.at ?? Number.NaN
const total = (streams: readonly Stream[]): number =>
  streams.reduce((sum, { tokens }) => sum + tokens.length, 0)

// Tokens that arrived after the first piece, over the time since it.
const decodeRate = (stream: Stream): number => {
  const later = stream.tokens.length - (stream.arrivals[0]?.tokens ?? 0)
  return (later * 1000) / (lastAt(stream) - firstAt(stream))
}

const single = async (part: Part, runtime: Runtime): Promise<Measured> => {
  const { row } = part
  const result: Measured = { values: [], extra: { 'first token ms': [] }, tokens: [] }
  if (row.kind === 'decode') result.extra['between pieces ms'] = []
  for (let repetition = 0; repetition < row.repetitions; repetition++) {
    const [request] = requests(part, repetition)
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

const batch = async (part: Part, runtime: Runtime): Promise<Measured> => {
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
  await runtime.parallel(shortened(part, 2))
  for (let repetition = 0; repetition < part.row.repetitions; repetition++) {
    if (part.row.warm) await runtime.parallel(askedBefore(part, repetition))
    const start = performance.now()
    const streams = await runtime.parallel(requests(part, repetition))
    const wall = performance.now() - start
    result.values.push((total(streams) * 1000) / wall)
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

const loop = async (part: Part, runtime: Runtime): Promise<Measured> => {
  await runtime.parallel(shortened(part, 2))
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  await setTimeout(idleMs)
  histogram.disable()
  const idle = histogram.percentile(99) / milliseconds
  histogram.reset()
  histogram.enable()
  const start = performance.now()
  const streams = await runtime.parallel(requests(part, 0))
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

const crossingWarmUps = 3
const floorWarmUpMs = 300

/** What the main thread did while the requests ran. */
interface MainThread {
  streams: Stream[]
  cpuUs: number
  activeUs: number
  sleeps: number
  wallUs: number
  steps: number
}

const watched = async (work: StreamRequest[], runtime: Runtime): Promise<MainThread> => {
  const steps = runtime.steps()
  const cpu = await mainThreadSeconds()
  const sleeps = mainThreadSleeps()
  const start = performance.now()
  const loopBefore = performance.eventLoopUtilization()
  const streams = await runtime.parallel(work)
  const { active } = performance.eventLoopUtilization(loopBefore)
  const wall = performance.now() - start
  const slept = mainThreadSleeps() - sleeps
  const used = (await mainThreadSeconds()) - cpu
  return {
    streams,
    cpuUs: used * 1e6,
    activeUs: active * 1000,
    sleeps: slept,
    wallUs: wall * 1000,
    steps: steps === undefined ? (work[0]?.tokens ?? 0) : (runtime.steps() ?? 0) - steps,
  }
}

// The CPU time of the main thread, what the kernel takes to wake it included; beside it what Node
// calls the active time of its event loop, which also counts waiting for a processor, and, where
// readers are continued, the floor: bare loops continued as often.
const crossing = async (part: Part, runtime: Runtime): Promise<Measured> => {
  const { row } = part
  // As many tokens as are measured, some times over: a server's code has long been compiled.
  for (let i = 0; i < crossingWarmUps; i++) await runtime.parallel(shortened(part, row.tokens))
  const result: Measured = { values: [], extra: {}, tokens: [] }
  const add = (name: string, value: number) => {
    result.extra[name] ??= []
    result.extra[name].push(value)
  }
  const hasFloor = !row.awaited && runtime.steps() !== undefined
  const floor = hasFloor ? new Floor(row.sequences) : undefined
  floor?.start(1) // compiles its loops
  await setTimeout(floorWarmUpMs)
  floor?.stop()
  for (let repetition = 0; repetition < row.repetitions; repetition++) {
    const one = await watched(requests(part, 2 * repetition), runtime)
    const pieces = one.streams.reduce((sum, { arrivals }) => sum + arrivals.length, 0)
    result.values.push(one.cpuUs / one.steps)
    add('active us', one.activeUs / one.steps)
    add('wake-ups', one.sleeps / one.steps)
    add('step us', one.wallUs / one.steps)
    add('pieces per token', pieces / total(one.streams))
    add('tokens/s', (total(one.streams) * 1e6) / one.wallUs)
    if (repetition === 0) result.tokens = one.streams.flatMap(({ tokens }) => tokens)
    if (floor === undefined) continue
    const work = requests(part, 2 * repetition + 1)
    floor.start(one.wallUs / 1000 / (pieces / row.sequences))
    const bare = await watched(
      work.map((request) => ({ ...request, awaited: true })),
      runtime,
    )
    const ticks = floor.stop()
    add('floor us', bare.cpuUs / bare.steps)
    add('floor wake-ups', ticks / bare.steps)
    add('beyond the floor us', one.cpuUs / one.steps - bare.cpuUs / bare.steps)
  }
  await floor?.close()
  return result
}

const tokenize = async (part: Part, runtime: Runtime): Promise<Measured> => {
  const texts = documents(part.row.text ?? 'english')
  const result: Measured = { values: [], extra: { 'MB/s': [] }, tokens: [] }
  const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const hash = createHash('sha256')
  for (const text of texts) hash.update(Int32Array.from(runtime.tokenize(text)))
  for (let repetition = 0; repetition < part.row.repetitions; repetition++) {
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

// 153 tokens of Qwen's vocabulary.
const chatUnits = 600

const chatText = (): string => documents('english').join(' ').slice(0, chatUnits)

const loadSample = async (part: Part, open: () => Promise<Runtime>): Promise<Sample> => {
  const chat = part.row.chat ? chatText() : undefined
  const start = performance.now()
  const runtime = await open()
  const ready = performance.now() - start
  const [request] = requests(part, 0)
  if (!request) throw new Error('Expected one sequence')
  if (chat !== undefined) request.chat = chat
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
      ...(chat === undefined ? {} : { 'tokens of the message': [runtime.tokenize(chat).length] }),
    },
    tokens: stream.tokens,
  }
  await runtime.close()
  return sampleOf(result, runtime)
}

const kinds = { decode: single, prefill: single, batch, loop, crossing, tokenize } as const

const replayed = async ({ row }: Part): Promise<Measured> => {
  const { whole, readers } = await replay(row.sequences, 10 * row.repetitions)
  const values = [median(whole) - median(readers)]
  return { values, extra: { 'whole us': whole, 'readers us': readers }, tokens: [] }
}

const openOptions = ({ rows, file }: Job): OpenOptions => ({
  file,
  threads: Math.max(...rows.map((row) => row.threads)),
  sequences: Math.max(...rows.map((row) => row.sequences)),
  contextTokens: Math.max(
    ...rows.map((row) => row.contextTokens ?? row.promptTokens + row.tokens + warmUpTokens),
  ),
  vocabularyOnly: rows.every((row) => row.kind === 'tokenize'),
})

const sampleOf = (measured: Measured, runtime?: Runtime): Sample => {
  const { values, extra, tokens, exactDigest } = measured
  const digest = createHash('sha256').update(Int32Array.from(tokens)).digest('hex').slice(0, 16)
  const { version = '', detail = '' } = runtime ?? {}
  const exact = exactDigest !== undefined
  return {
    version,
    detail,
    values,
    extra,
    answer: { digest: exactDigest ?? digest, exact, tokens },
  }
}

const sitting = async (parts: readonly Part[], open: () => Promise<Runtime>): Promise<Sample[]> => {
  const runtime = await open()
  const samples: Sample[] = []
  try {
    const alone = parts.every(({ row }) => row.sequences === 1 && row.kind !== 'tokenize')
    if (alone) await runtime.generate(warmUp(parts))
    for (const part of parts) {
      const { kind } = part.row
      if (kind === 'load' || kind === 'replay') throw new Error(`Expected ${kind} to be alone`)
      samples.push(sampleOf(await kinds[kind](part, runtime), runtime))
    }
  } finally {
    await runtime.close()
  }
  return samples
}

/** Runs the job and says what it measured of each case. */
export const measure = async (job: Job): Promise<Sample[]> => {
  const driver: Driver | ToolDriver = await import(`./drivers/${job.driver}.js`)
  if ('measure' in driver) return driver.measure(job)
  const open = () => driver.open(openOptions(job))
  const { vocabulary, round } = job
  const parts = job.rows.map((row, index) => ({ row, vocabulary, round, index }))
  const [first] = parts
  if (first?.row.kind === 'replay') return [sampleOf(await replayed(first))]
  if (first?.row.kind === 'load') return [await loadSample(first, open)]
  return sitting(parts, open)
}

/** CPU time of this process and of the programs that it started and that have ended. */
export const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6 + endedChildSeconds()
}
