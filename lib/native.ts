// Finds the binary and types every native function. The only importer of a .node file.

import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** A native task: its promise, and a way to stop it early. */
export interface NativeJob<T> {
  promise: Promise<T>
  cancel(): void
}

export interface NativeModelInfo {
  name: string
  architecture: string
  parameters: number
  quantization: string
  sizeBytes: number
  contextLength: number
  vocabularySize: number
  embeddingLength: number
  layers: number
  heads: number
  kvHeads: number
  headDim: number
  chatTemplate: string
  bosToken: number
  eosTokens: Int32Array
}

export interface NativeModel {
  info(): NativeModelInfo
  tokenize(text: string | Uint8Array, addSpecial: boolean, parseSpecial: boolean): Int32Array
  detokenize(tokens: Int32Array, special: boolean): string
  piece(token: number): Uint8Array
  /** What an engine of so many sequences, each of a context, takes beside the weights. */
  memory(
    context: number,
    sequences: number,
    stepTokens: number,
    cacheType: string,
  ): { cacheBytes: number; workspaceBytes: number }
  close(): NativeJob<void>
}

/** What crosses for one request: validated, completed, packed. */
export interface NativeRequest {
  kind: 'generate' | 'score'
  text?: string
  tokens?: Int32Array
  addSpecial?: boolean
  parseSpecial?: boolean
  maxTokens?: number
  temperature?: number
  topK?: number
  topP?: number
  minP?: number
  seed?: number
  repetitionPenalty?: number
  presencePenalty?: number
  frequencyPenalty?: number
  biasTokens?: Int32Array
  biasValues?: Float32Array
  stop?: string[]
  stopTokens?: Int32Array
  ignoreEos?: boolean
  /** Absent: true. false: no pieces until `read`; the end brings the whole answer. */
  wantsPieces?: boolean
  logprobs?: number
  cacheSalt?: string
  priority?: 'interactive' | 'normal' | 'batch'
  deadlineMs?: number
  scoreTop?: number
}

/** What an engine is doing: counts since it opened, unless said otherwise. */
export interface EngineStats {
  state: 'open' | 'closing' | 'closed' | 'failed'
  /** The device in use (`cpu`, `cuda:0`), what it is, and its table of operators. */
  device: string
  hardware: string
  ops: string
  threads: number
  /** Why `device: 'auto'` took the CPU; absent where it was asked for or a GPU is in use. */
  whyNoGpu?: string
  /** Requests running and waiting at this moment. */
  running: number
  waiting: number
  /** Cache pages: tokens in each, and how many there are, are free, kept for reuse, in use. */
  pageTokens: number
  pagesTotal: number
  pagesFree: number
  pagesCached: number
  pagesHeld: number
  steps: number
  promptTokens: number
  cachedTokens: number
  completionTokens: number
  preemptions: number
  evictions: number
  finished: number
  aborted: number
  failed: number
  rejected: number
  /** Of the weights' packed copy; the file's own pages are not in it. */
  weightsBytes: number
  cacheBytes: number
  workspaceBytes: number
  /** `pagesFree + pagesCached + pagesHeld === pagesTotal`, checked by the engine itself. */
  identityHolds: boolean
}

export interface NativeEngine {
  submit(request: NativeRequest): number
  abort(id: number): void
  read(id: number): void
  /** As the model's, also once that is closed. */
  piece(token: number): Uint8Array
  stats(): EngineStats
  close(drainMs: number): Promise<void>
}

/** Called once per wake-up; native/binding/events.h states the records. */
export type OnEvents = (
  length: number,
  records: Int32Array,
  numbers: Float64Array,
  text: string,
) => void

export interface NativeDevice {
  name: string
  hardware: string
  ops: string
  threads: number
  memoryBytes: number
  freeBytes: number
}

export interface Native {
  version: string
  errorCodes(): string[]
  /** GPUs first; without any, why. */
  devices(): NativeJob<{ devices: NativeDevice[]; whyNoGpu?: string }>
  openModel(
    path: string,
    options: { useMmap: boolean; vocabularyOnly: boolean },
    onProgress?: (fraction: number) => void,
  ): NativeJob<NativeModel>
  openEngine(model: NativeModel, options: object, onEvents: OnEvents): NativeJob<NativeEngine>
  shutDown(): void
  /** Only in a build with tests: the (n+1)-th device allocation from now fails. */
  failAllocAfter?(n: number): void
  /** Only in a build with tests: the bytes that the collector was told of. */
  externalBytes?(): number
}

function load(): Native {
  const require = createRequire(import.meta.url)
  const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')
  const folder = process.env.MILLRACE_BUILD // another build of the addon, for tests
  const native = (
    folder === undefined
      ? require('node-gyp-build')(root)
      : require(resolve(root, folder, 'millrace.node'))
  ) as Native
  // process.exit() asks no addon: engines still at work would meet their own destruction.
  process.on('exit', () => native.shutDown())
  return native
}

export const native: Native = load()
