// The peer by its fastest public path: `sequence.evaluate`, its own prebuilt CPU binary. Only what
// is used of its interface is typed here, because it is not a dependency.
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { OpenOptions, Runtime, Stream, StreamRequest } from '../driver.js'
import { type Peer, peerEntry } from '../install.js'

interface PeerSequence {
  evaluate(
    tokens: number[],
    options: { temperature: number; yieldEogToken: boolean },
  ): AsyncIterable<number>
  clearHistory(): Promise<void>
}

interface PeerContext {
  getSequence(): PeerSequence
}

interface PeerModel {
  createContext(options: {
    contextSize: number
    sequences: number
    threads: number
    batchSize: number
  }): Promise<PeerContext>
  tokenize(text: string, specialTokens: boolean): number[]
}

interface PeerRuntime {
  loadModel(options: { modelPath: string; vocabOnly: boolean }): Promise<PeerModel>
  readonly systemInfo: string
  dispose(): Promise<void>
}

interface PeerPackage {
  getLlama(options: Record<string, unknown>): Promise<PeerRuntime>
}

export const peer: Peer = {
  name: 'node-llama-cpp',
  version: '3.22.1',
  entry: 'dist/index.js',
}

const minimumContext = 256
const batchTokens = 512

const stream = async (sequence: PeerSequence, request: StreamRequest): Promise<Stream> => {
  await sequence.clearHistory()
  const answer: Stream = { start: performance.now(), arrivals: [], tokens: [] }
  const options = { temperature: 0, yieldEogToken: true }
  for await (const token of sequence.evaluate([...request.prompt], options)) {
    answer.arrivals.push({ at: request.timed ? performance.now() : answer.start, tokens: 1 })
    answer.tokens.push(token)
    if (answer.tokens.length >= request.tokens) break
  }
  return answer
}

const openContext = (model: PeerModel, options: OpenOptions): Promise<PeerContext> =>
  model.createContext({
    contextSize: Math.max(minimumContext, options.contextTokens),
    sequences: options.sequences,
    threads: options.threads,
    batchSize: batchTokens,
  })

// The loaded backend says more than the system information: one library per instruction set.
const backend = (): string => {
  try {
    const maps = readFileSync('/proc/self/maps', 'utf8')
    return /libggml-cpu-([\w-]+)\.so/.exec(maps)?.[1] ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

export const open = async (options: OpenOptions): Promise<Runtime> => {
  process.env.NODE_LLAMA_CPP_SKIP_DOWNLOAD = 'true'
  const { getLlama }: PeerPackage = await import(peerEntry(peer))
  const llama = await getLlama({
    build: 'never',
    gpu: false,
    progressLogs: false,
    logLevel: 'error',
    maxThreads: options.threads,
  })
  const model = await llama.loadModel({
    modelPath: options.file,
    vocabOnly: options.vocabularyOnly,
  })
  const context = options.vocabularyOnly ? undefined : await openContext(model, options)
  const sequences = context
    ? Array.from({ length: options.sequences }, () => context.getSequence())
    : []
  const sequence = (index: number): PeerSequence => {
    const found = sequences[index]
    if (!found) throw new Error(`Expected at most ${sequences.length} streams`)
    return found
  }
  return {
    version: peer.version,
    detail: `cpu ${backend()}`,
    generate: (request) => stream(sequence(0), request),
    parallel: (requests) =>
      Promise.all(requests.map((request, index) => stream(sequence(index), request))),
    tokenize: (text) => model.tokenize(text, false),
    steps: () => undefined,
    close: () => llama.dispose(),
  }
}
