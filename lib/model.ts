// A model file: weights and tokenizer, immutable once open.

import { existsSync, statSync } from 'node:fs'
import { builtinPath } from './builtin.js'
import { ChatTemplate } from './chat/template.js'
import { call, coded, MillraceError } from './errors.js'
import { findCached } from './hub.js'
import { type NativeJob, type NativeModel, native } from './native.js'
import {
  aBoolean,
  aFunction,
  aSignal,
  type Checks,
  checkOptions,
  invalid,
  someTokens,
  toTokens,
  unsupported,
} from './options.js'

/** How to open a model. */
export interface ModelOptions {
  /** Told how far opening has come, 0 to 1. An exception from it ends the opening. */
  onProgress?: (fraction: number) => void
  /** Ends the opening; the promise rejects with code `aborted`. */
  signal?: AbortSignal
  /** Map the file instead of reading it; default true. */
  useMmap?: boolean
  /** Tokenizer and metadata only; a file without tensors will do. */
  vocabularyOnly?: boolean
}

/** What a file says of its model. */
export interface ModelInfo {
  name: string
  architecture: string
  /** Numbers in all weights. */
  parameters: number
  /** The element type that holds most weights, such as `Q4_0`, or a mix, such as `Q4_K_M`. */
  quantization: string
  /** Of the file, or of all files of a split set. */
  sizeBytes: number
  /** Tokens the model was made for. */
  contextLength: number
  vocabularySize: number
  embeddingLength: number
  layers: number
  heads: number
  kvHeads: number
  /** Numbers per head; the cache holds 2 x layers x kvHeads x headLength numbers per token. */
  headLength: number
  chatTemplate?: string
  bosToken?: number
  /** The primary end token first. */
  eosTokens: number[]
}

const checks: Checks = {
  onProgress: aFunction,
  signal: aSignal,
  useMmap: aBoolean,
  vocabularyOnly: aBoolean,
}

function infoOf(handle: NativeModel): ModelInfo {
  const { chatTemplate, bosToken, eosTokens, headDim, ...info } = handle.info()
  return {
    ...info,
    headLength: headDim,
    ...(chatTemplate === '' ? {} : { chatTemplate }),
    ...(bosToken < 0 ? {} : { bosToken }),
    eosTokens: [...eosTokens],
  }
}

/** The file that a source names. */
function pathOf(source: string): string {
  if (source.startsWith('builtin:')) return builtinPath(source)
  if (source.startsWith('hf:')) {
    const path = findCached(source)
    if (path !== undefined) return path
    throw unsupported(`"${source}" is not downloaded: run "millrace pull ${source}" first`)
  }
  if (existsSync(`${source}/config.json`) && statSync(source).isDirectory()) {
    throw unsupported(`"${source}": safetensors folders are not supported yet, only .gguf files`)
  }
  return source
}

/** The handle of a model; for the engine. */
export let nativeOf: (model: Model) => NativeModel

/** What a model's BOS and first EOS spell, '' without; after `close()` too. */
export let markersOf: (model: Model) => Markers

export interface Markers {
  bos: string
  eos: string
}

/** A model's chat template, parsed once. @throws MillraceError `unsupported` when it has none. */
export let templateOf: (model: Model) => ChatTemplate

/**
 * Immutable weights and tokenizer of one file, shared by any number of engines.
 *
 * @example
 * ```ts
 * await using model = await Model.open('model.gguf')
 * console.log(model.info.architecture, model.info.parameters)
 * ```
 */
export class Model implements AsyncDisposable {
  /** What the file says; stays readable after `close()`. */
  readonly info: ModelInfo
  readonly #native: NativeModel
  readonly #markers: Markers
  #template: ChatTemplate | undefined
  #closing: Promise<void> | undefined

  private constructor(handle: NativeModel) {
    this.#native = handle
    this.info = infoOf(handle)
    const { bosToken, eosTokens } = this.info
    const textOf = (token: number | undefined) =>
      token === undefined ? '' : handle.detokenize(Int32Array.of(token), true)
    this.#markers = { bos: textOf(bosToken), eos: textOf(eosTokens[0]) }
  }

  static {
    nativeOf = (model) => model.#native
    markersOf = (model) => model.#markers
    templateOf = (model) => model.#parsed()
  }

  /**
   * Opens a `.gguf` file, the first one of a split set too, a downloaded `hf:owner/repo[:file]`, or
   * `builtin:brook`, the very small model that travels in the package.
   *
   * @example
   * ```ts
   * const model = await Model.open('model.gguf', { onProgress: (f) => console.log(f) })
   * await model.close()
   * ```
   * @throws TypeError for a mistake in the options
   * @throws MillraceError `not-found`, `io`, `bad-file`, `unsupported`, `out-of-memory`, `aborted`
   */
  static async open(source: string, options?: ModelOptions): Promise<Model> {
    if (typeof source !== 'string' || source === '') {
      throw invalid('source', 'the path of a .gguf file, or hf:owner/repo', source)
    }
    const {
      onProgress,
      signal,
      useMmap = true,
      vocabularyOnly = false,
    } = checkOptions('Model.open', options, checks)
    const path = pathOf(source)
    if (signal?.aborted) throw aborted(source, signal)
    let thrown: { error: unknown } | undefined
    const job: NativeJob<NativeModel> = call(() =>
      native.openModel(path, { useMmap, vocabularyOnly }, (fraction) => {
        try {
          if (thrown === undefined) onProgress?.(fraction)
        } catch (error) {
          thrown = { error }
          job.cancel()
        }
      }),
    )
    const cancel = () => job.cancel()
    signal?.addEventListener('abort', cancel)
    try {
      const handle = await job.promise
      if (thrown === undefined && !signal?.aborted) return new Model(handle)
      await handle.close().promise
    } catch (error) {
      if (thrown === undefined && !signal?.aborted) throw coded(error)
    } finally {
      signal?.removeEventListener('abort', cancel)
    }
    throw thrown === undefined ? aborted(source, signal) : thrown.error
  }

  /**
   * Token ids of a text, as generation sees them. Synchronous: meant for small texts.
   *
   * `addSpecial` (default true) adds what the vocabulary asks for, such as BOS; `parseSpecial`
   * (default false) recognizes the text of special tokens.
   *
   * @example
   * ```ts
   * await using model = await Model.open('model.gguf', { vocabularyOnly: true })
   * console.log(model.tokenize('Once upon a time').length)
   * ```
   * @throws MillraceError `closed`, `too-long`
   */
  tokenize(
    text: string | Uint8Array,
    options?: { addSpecial?: boolean; parseSpecial?: boolean },
  ): Int32Array {
    if (typeof text !== 'string' && !(text instanceof Uint8Array)) {
      throw invalid('text', 'a string or a Uint8Array', text)
    }
    const { addSpecial = true, parseSpecial = false } = checkOptions('tokenize', options, {
      addSpecial: aBoolean,
      parseSpecial: aBoolean,
    })
    return call(() => this.#native.tokenize(text, addSpecial, parseSpecial))
  }

  /**
   * The text of token ids; bytes that are no UTF-8 come out as U+FFFD. `special` (default false)
   * renders control tokens as their text instead of leaving them out. As in the reference, some
   * vocabularies (GPT-2, Llama 3) drop a space before a punctuation mark; streamed text keeps it.
   *
   * @example
   * ```ts
   * await using model = await Model.open('model.gguf', { vocabularyOnly: true })
   * console.log(model.detokenize(model.tokenize('Once upon a time')))
   * ```
   * @throws MillraceError `closed`
   */
  detokenize(tokens: ArrayLike<number>, options?: { special?: boolean }): string {
    const mistake = someTokens(tokens)
    if (mistake !== undefined) throw invalid('tokens', mistake, tokens)
    const { special = false } = checkOptions('detokenize', options, { special: aBoolean })
    // The text begins after a BOS: a vocabulary's leading space is taken off there too.
    const skipped = !special && tokens.length > 0 && tokens[0] === this.info.bosToken ? 1 : 0
    return call(() => this.#native.detokenize(toTokens(tokens).subarray(skipped), special))
  }

  /**
   * Lets the file go. Engines that run on it keep what they need. Idempotent.
   *
   * @example
   * ```ts
   * const model = await Model.open('model.gguf', { vocabularyOnly: true })
   * await model.close()
   * ```
   */
  close(): Promise<void> {
    this.#closing ??= this.#native.close().promise
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #parsed(): ChatTemplate {
    if (this.info.chatTemplate === undefined) {
      throw unsupported(`"messages" need a chat template, which ${this.info.name} has not`)
    }
    this.#template ??= new ChatTemplate(this.info.chatTemplate)
    return this.#template
  }
}

function aborted(source: string, signal: AbortSignal | undefined): MillraceError {
  return new MillraceError('aborted', `opening "${source}" was aborted`, {
    cause: signal?.reason,
  })
}
