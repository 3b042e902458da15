// The scheduler with a model that costs nothing, driven step by step (test/native/probe/scheduler.cpp).
import { probe } from './probe.js'

export interface FakeRequest {
  prompt: Int32Array
  score?: boolean
  maxTokens?: number
  seed?: number
  stopTokens?: Int32Array
  repetitionPenalty?: number
  ignoreEos?: boolean
  priority?: number
  deadlineMs?: number
  cacheSalt?: string
}
export interface SchedulerEvent {
  kind: 'piece' | 'done' | 'error' | 'score'
  id: number
  tokens: Int32Array
  reason: 'none' | 'stop' | 'length' | 'abort'
  code: string
  message: string
  promptTokens: number
  cachedTokens: number
  completionTokens: number
  scoreLogprobs: Float32Array
}
export interface SchedulerOptions {
  maxSequences?: number
  stepTokens?: number
  maxOutputs?: number
  context?: number
  vocabSize?: number
  pages?: number
  pageTokens?: number
  endTokens?: Int32Array
}
export interface SchedulerCounters {
  running: number
  waiting: number
  free: number
  cached: number
  held: number
  evictions: number
  preemptions: number
  steps: number
  cachedTokens: number
  copies: number // of pages that begin like one that is known
}
export interface Scheduler {
  add(id: number, request: FakeRequest, nowMs: number): void
  abort(id: number, nowMs: number): void
  schedule(nowMs: number): Int32Array[] // [id, first position, rows] of each sequence in the batch
  scheduleAhead(nowMs: number): Int32Array[] | null // likewise, of the step after the one scheduled
  hasScheduled(): boolean // what is not committed
  commit(nowMs: number): void
  events(): SchedulerEvent[]
  idle(): boolean
  check(): string // empty: the cache identity holds
  counters(): SchedulerCounters
}

export const { scheduler, fakeAnswer, fakeScore } = probe<{
  scheduler(options: SchedulerOptions): Scheduler
  fakeAnswer(prompt: Int32Array, seed: number, n: number, vocabSize: number): Int32Array
  fakeScore(prompt: Int32Array): Float32Array
}>()

/** What one request has received so far. */
export interface Received {
  tokens: number[]
  end: SchedulerEvent | undefined
}

/** Sorts events by request; two ends of one request are an error. */
export function receive(received: Map<number, Received>, events: SchedulerEvent[]): void {
  for (const event of events) {
    const one = received.get(event.id) ?? { tokens: [], end: undefined }
    received.set(event.id, one)
    if (one.end) throw new Error(`Expected nothing after the end of ${event.id}: ${event.kind}`)
    if (event.kind === 'piece') one.tokens.push(...event.tokens)
    else one.end = event
  }
}

export function endOf(received: Map<number, Received>, id: number): SchedulerEvent {
  const end = received.get(id)?.end
  if (!end) throw new Error(`Expected request ${id} to have ended`)
  return end
}

/** Steps until nothing is left; what everybody received. */
export function runOut(target: Scheduler, nowMs = 0): Map<number, Received> {
  const received = new Map<number, Received>()
  for (let steps = 0; !target.idle(); steps++) {
    if (steps > 100_000) throw new Error('Expected the scheduler to come to an end')
    target.schedule(nowMs)
    target.commit(nowMs)
    receive(received, target.events())
  }
  receive(received, target.events())
  return received
}
