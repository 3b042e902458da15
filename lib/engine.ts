// Continuous batching over one model: requests in, generations out.

import { setMaxListeners } from 'node:events'
import { call, coded, errorOfNumber, MillraceError } from './errors.js'
import { connect, type Ended, type Receiver } from './events.js'
import {
  type Completion,
  type Ending,
  type Generation,
  nothing,
  openGeneration,
} from './generation.js'
import { Model, nativeOf } from './model.js'
import { type EngineStats, type NativeEngine, native } from './native.js'
import {
  anInteger,
  type Checks,
  checkOptions,
  invalid,
  oneOf,
  toTokens,
  unsupported,
} from './options.js'
import {
  type GenerateRequest,
  generateChecks,
  generateLater,
  packRequest,
  type ScoreRequest,
  scoreChecks,
} from './request.js'
import { randomSeed, seedOf } from './sampling.js'

export type { EngineStats } from './native.js'

/** How to open an engine. */
export interface EngineOptions {
  /**
   * `auto` (the default) takes the first CUDA device if the model fits it and a first step succeeds,
   * else the CPU, and `stats().whyNoGpu` says why. `cuda` is the first device, and there is no way
   * around it: code `unsupported` without library or driver, `not-found` without such a device,
   * `out-of-memory` or `device` where it refuses. The library `libmillrace-cuda.so` lies beside the
   * addon, or where `MILLRACE_CUDA_LIBRARY` says.
   */
  device?: 'auto' | 'cpu' | 'cuda' | `cuda:${number}`
  /** Default: the physical cores this program may use. */
  threads?: number
  /** Requests running at once; the rest wait. */
  maxSequences?: number
  /** Tokens the cache holds; default from free memory. */
  cacheTokens?: number
  /** Element type of the cache; default `f16`. */
  cacheType?: 'f32' | 'f16' | 'bf16' | 'q8_0' | 'f8'
  /** Tokens computed in one step; long prompts are cut into such chunks. */
  stepTokens?: number
  /** Waiting requests before `generate` refuses with code `overloaded`. */
  queueLimit?: number
}

/** Log-probabilities of a given text. */
export interface Score {
  tokens: Int32Array
  /** Natural log-probability of `tokens[i]` given `tokens[0..i)`; NaN for the first. */
  logprobs: Float32Array
  /** `top[i]`: the distribution of the token after position i, most likely first. */
  top?: { tokens: Int32Array; logprobs: Float32Array }[]
}

/** Options of `embed`, which is not supported yet. */
export interface EmbedOptions {
  signal?: AbortSignal
}

const engineChecks: Checks = {
  device: (value) =>
    typeof value === 'string' && /^(auto|cpu|cuda(:\d+)?)$/.test(value)
      ? undefined
      : 'one of "auto", "cpu", "cuda", "cuda:0", …',
  threads: anInteger(1, 1024),
  maxSequences: anInteger(1, 2 ** 20),
  cacheTokens: anInteger(1),
  cacheType: oneOf('f32', 'f16', 'bf16', 'q8_0', 'f8'),
  stepTokens: anInteger(1, 2 ** 20),
  queueLimit: anInteger(1, 2 ** 30 - 1),
}

function checkEngineOptions(options: EngineOptions | undefined): EngineOptions {
  const known = checkOptions('Engine.open', options, engineChecks)
  if (known.cacheType === 'bf16' || known.cacheType === 'f8') {
    throw unsupported(
      `Expected "cacheType" to be "f32", "f16" or "q8_0" but received "${known.cacheType}"`,
    )
  }
  return known
}

const finishReasons: Completion['finishReason'][] = ['abort', 'stop', 'length', 'abort']

const endingOf = (ended: Ended): Ending => ({
  text: ended.text,
  tokens: ended.tokens,
  finishReason: finishReasons[ended.reason] ?? 'abort',
  usage: ended.usage,
  timings: ended.timings,
})

const decoder = new TextDecoder()

/** What a token spells, for log-probabilities; nothing once the engine is closed. */
function spell(engine: NativeEngine, token: number): { text: string; bytes: Uint8Array } {
  try {
    const bytes = engine.piece(token)
    return { text: decoder.decode(bytes), bytes }
  } catch {
    return { text: '', bytes: new Uint8Array() }
  }
}

/**
 * Runs many requests at once on one model: a step computes the next token of every running request.
 *
 * @example
 * ```ts
 * await using engine = await Engine.open('model.gguf', { threads: 2 })
 * const prompts = ['Once upon a time', 'One day, a girl']
 * const texts = await Promise.all(
 *   prompts.map((prompt) => engine.generate({ prompt, maxTokens: 16 }).text()),
 * )
 * console.log(texts)
 * ```
 */
export class Engine implements AsyncDisposable {
  readonly model: Model
  readonly #native: NativeEngine
  readonly #live: Map<number, Receiver>
  readonly #ownsModel: boolean
  #closing: Promise<void> | undefined

  private constructor(
    model: Model,
    handle: NativeEngine,
    live: Map<number, Receiver>,
    ownsModel: boolean,
  ) {
    this.model = model
    this.#native = handle
    this.#live = live
    this.#ownsModel = ownsModel
  }

  /**
   * Makes an engine for an open model, or opens the file first and closes it with the engine.
   *
   * @example
   * ```ts
   * await using model = await Model.open('model.gguf')
   * await using engine = await Engine.open(model, { maxSequences: 8, cacheTokens: 4096 })
   * console.log(engine.stats().ops)
   * ```
   * @throws TypeError for a mistake in the options
   * @throws MillraceError `closed`, `unsupported`, `bad-file`, `out-of-memory`, and what
   *   `Model.open` throws
   */
  static async open(model: string | Model, options?: EngineOptions): Promise<Engine> {
    if (typeof model !== 'string' && !(model instanceof Model)) {
      throw invalid('model', 'a Model, or the path of a .gguf file', model)
    }
    const known = checkEngineOptions(options)
    const opened = typeof model === 'string' ? await Model.open(model) : model
    // What the callback holds must not lead to the engine: it could never be collected.
    const live = new Map<number, Receiver>()
    try {
      const job = call(() => native.openEngine(nativeOf(opened), known, connect(live)))
      const handle = await job.promise
      return new Engine(opened, handle, live, opened !== model)
    } catch (error) {
      if (opened !== model) await opened.close()
      throw coded(error)
    }
  }

  /**
   * Starts a generation: iterate it for pieces, await it for the whole.
   *
   * @example
   * ```ts
   * await using engine = await Engine.open('model.gguf')
   * const { text, finishReason } = await engine.generate({
   *   prompt: 'Once upon a time',
   *   maxTokens: 32,
   *   temperature: 0.8,
   *   seed: 7,
   *   stop: ['.'],
   * })
   * console.log(text, finishReason)
   * ```
   * @throws TypeError for a mistake in the request
   * @throws MillraceError `closed`, `failed`, `overloaded`, `unsupported` at once; the generation
   *   itself rejects with `too-long`, `deadline`, `closed`, `failed`, `out-of-memory`, `internal`,
   *   `invalid-argument` (stop strings), `bad-file` (a model file that was shortened meanwhile)
   */
  generate(request: GenerateRequest): Generation {
    const known = checkOptions('generate', request, generateChecks, generateLater)
    const { n = 1, seed = randomSeed(), signal } = known
    seedOf(seed, n - 1)
    const packed = packRequest(this.model, known, seed)
    const ids: number[] = []
    const running = () => ids.filter((id) => this.#live.has(id))
    const abort = () => {
      for (const id of running()) this.#native.abort(id)
    }
    const read = () => {
      for (const id of running()) this.#native.read(id)
    }
    const { generation, feeds } = openGeneration(n, { abort, read })
    if (signal?.aborted) {
      for (const feed of feeds) feed.done(nothing())
      return generation
    }
    try {
      for (const [index, feed] of feeds.entries()) {
        const id = call(() => this.#native.submit({ ...packed, seed: seedOf(seed, index) }))
        ids.push(id)
        this.#live.set(id, {
          piece: feed.piece,
          logprob: (token, logprob, top) =>
            feed.logprob({
              token,
              ...spell(this.#native, token),
              logprob,
              top: top.map((one) => ({ ...one, text: spell(this.#native, one.token).text })),
            }),
          done: (ended) => feed.done(endingOf(ended)),
          fail: (code, message) => feed.fail(errorOfNumber(code, message)),
        })
      }
    } catch (error) {
      abort()
      throw error
    }
    if (signal !== undefined) {
      setMaxListeners(0, signal) // many requests may share one
      signal.addEventListener('abort', abort)
      const forget = () => signal.removeEventListener('abort', abort)
      generation.then(forget, forget)
    }
    return generation
  }

  /**
   * Log-probabilities of a given text: evaluation and perplexity. Computes the prompt only.
   *
   * @example
   * ```ts
   * await using engine = await Engine.open('model.gguf')
   * const { logprobs } = await engine.score({ prompt: 'Once upon a time' })
   * const sum = logprobs.slice(1).reduce((total, value) => total + value, 0)
   * console.log('perplexity', Math.exp(-sum / (logprobs.length - 1)))
   * ```
   * @throws TypeError for a mistake in the request
   * @throws MillraceError `closed`, `failed`, `overloaded`, `too-long`, `aborted`
   */
  async score(request: ScoreRequest): Promise<Score> {
    const known = checkOptions('score', request, scoreChecks)
    const { prompt, top = 0, signal, priority } = known
    if (prompt === undefined) throw invalid('prompt', 'a string or an array of token ids', prompt)
    const { vocabularySize } = this.model.info
    if (top > vocabularySize) throw invalid('top', `an integer from 0 to ${vocabularySize}`, top)
    const gaveUp = () =>
      new MillraceError('aborted', 'the score request was aborted', { cause: signal?.reason })
    if (signal?.aborted) throw gaveUp()
    const id = call(() =>
      this.#native.submit({
        kind: 'score',
        ...(typeof prompt === 'string' ? { text: prompt } : { tokens: toTokens(prompt) }),
        ...(priority === undefined ? {} : { priority }),
        scoreTop: top,
      }),
    )
    const abort = () => this.#native.abort(id)
    if (signal !== undefined) setMaxListeners(0, signal)
    signal?.addEventListener('abort', abort)
    try {
      return await new Promise<Score>((resolve, reject) => {
        this.#live.set(id, {
          piece: () => {},
          logprob: () => {},
          done: () => reject(gaveUp()),
          fail: (code, message) => reject(errorOfNumber(code, message)),
          score: resolve,
        })
      })
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /**
   * Not supported yet.
   *
   * @throws MillraceError `unsupported`
   */
  async embed(_inputs: string | string[], _options?: EmbedOptions): Promise<Float32Array[]> {
    throw unsupported('embed() is not supported yet')
  }

  /**
   * What the engine is doing; cheap.
   *
   * @example
   * ```ts
   * await using engine = await Engine.open('model.gguf')
   * const { running, waiting, pagesFree } = engine.stats()
   * console.log(running, waiting, pagesFree)
   * ```
   * @throws MillraceError `closed`
   */
  stats(): EngineStats {
    return call(() => this.#native.stats())
  }

  /**
   * Stops admitting, lets what runs finish for at most `drainMs` (default: without limit), ends the
   * rest with code `closed`, and releases everything. Idempotent; a second call may shorten the
   * drain.
   *
   * @example
   * ```ts
   * const engine = await Engine.open('model.gguf')
   * const generation = engine.generate({ prompt: 'Once upon a time', maxTokens: 8 })
   * await engine.close()
   * console.log((await generation).text)
   * ```
   */
  async close(options?: { drainMs?: number }): Promise<void> {
    const { drainMs = -1 } = checkOptions('close', options, { drainMs: anInteger(0) })
    await this.#native.close(drainMs)
    if (!this.#ownsModel) return
    this.#closing ??= this.model.close()
    await this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}
