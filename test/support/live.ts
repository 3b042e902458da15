// A whole engine on a real model through the probe (test/native/probe/live.cpp).
import { probe } from './probe.js'
import type { SchedulerEvent } from './scheduler.js'

export interface LiveRequest {
  prompt: string | Int32Array
  score?: boolean
  top?: number
  maxTokens?: number
  stop?: string[]
  stopTokens?: Int32Array
  ignoreEos?: boolean
  wantsPieces?: boolean
  priority?: number
  deadlineMs?: number
  cacheSalt?: string
  temperature?: number
  topK?: number
  topP?: number
  minP?: number
  seed?: number
  repetitionPenalty?: number
  presencePenalty?: number
  frequencyPenalty?: number
  logitBias?: [number, number][]
  logprobs?: number
}
export interface LiveEvent extends SchedulerEvent {
  text: string
  textUnits: number
  logprobs: [number, number][]
  top: [number, number][][]
  queueMs: number
  firstTokenMs: number
  decodeMs: number
}
export interface LiveOptions {
  path: string
  threads?: number
  maxSequences?: number
  cacheTokens?: number
  stepTokens?: number
  queueLimit?: number
  cacheType?: 'f32' | 'f16' | 'bf16' | 'q8_0'
  device?: string
}
export interface LiveStats {
  threads: number
  running: number
  waiting: number
  pageTokens: number
  pagesTotal: number
  pagesFree: number
  pagesCached: number
  pagesHeld: number
  steps: number
  cachedTokens: number
  completionTokens: number
  preemptions: number
  evictions: number
  finished: number
  aborted: number
  failed: number
  rejected: number
  ops: string
  state: 'open' | 'closing' | 'closed' | 'failed'
  identityHolds: boolean
}
export interface LiveEngine {
  /** '' or 'code: message' */
  submit(id: number, request: LiveRequest): string
  /** Submits, or without a request aborts, when so many tokens have come in all. */
  later(afterTokens: number, id: number, request?: LiveRequest): void
  /** Makes every later request wait for the end of the one before it instead. */
  serial(): void
  abort(id: number): void
  read(id: number): void
  wait(ends: number, timeoutMs: number): boolean
  waitForTokens(tokens: number, timeoutMs: number): boolean
  events(): LiveEvent[]
  stats(): LiveStats
  close(drainMs?: number): void
  closeAsync(drainMs: number): void
  closed(): boolean
  drop(): void
}

export const { liveEngine, failAllocAfter, opsTables } = probe<{
  liveEngine(options: LiveOptions): LiveEngine
  failAllocAfter(n: number): void
  opsTables(): string[]
}>()

/** Everything one request received. */
export interface Answer {
  tokens: number[]
  text: string
  logprobs: [number, number][]
  top: [number, number][][]
  end: LiveEvent
}

/** Sorts events by request; a request that ends twice, or not at all, is an error. */
export function answersOf(events: LiveEvent[]): Map<number, Answer> {
  const answers = new Map<number, Answer>()
  const open = new Map<number, Omit<Answer, 'end'>>()
  for (const event of events) {
    if (answers.has(event.id)) throw new Error(`Expected nothing after the end of ${event.id}`)
    const one = open.get(event.id) ?? { tokens: [], text: '', logprobs: [], top: [] }
    open.set(event.id, one)
    if (event.kind !== 'piece') {
      if (event.kind === 'done') checkEnd(event, one)
      answers.set(event.id, { ...one, end: event })
      continue
    }
    one.tokens.push(...event.tokens)
    one.text += event.text
    one.logprobs.push(...event.logprobs)
    one.top.push(...event.top)
  }
  for (const id of open.keys())
    if (!answers.has(id)) throw new Error(`Expected ${id} to have ended`)
  return answers
}

// The end says the whole answer: exactly what the pieces said.
function checkEnd(end: LiveEvent, { text, tokens }: Omit<Answer, 'end'>): void {
  if (end.text === text && end.tokens.join() === tokens.join()) return
  throw new Error(
    `Expected "${text}" (${tokens}) at the end but received "${end.text}" (${end.tokens})`,
  )
}

/** The answer to one request, alone in the engine. */
export function answerOf(engine: LiveEngine, request: LiveRequest, id = 1): Answer {
  const refusal = engine.submit(id, request)
  if (refusal) throw new Error(refusal)
  if (!engine.wait(1, 30_000)) throw new Error('Expected the request to end within 30 s')
  const answer = answersOf(engine.events()).get(id)
  if (!answer) throw new Error('Expected an answer')
  return answer
}

/** Runs with an environment variable that Engine::open reads. */
export function withOps<T>(table: string, body: () => T): T {
  const before = process.env.MILLRACE_OPS
  probe.setOps(table)
  try {
    return body()
  } finally {
    probe.setOps(before)
  }
}
