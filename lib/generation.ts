// One answer, or n of them, on its way: a stream and a promise in one.
// Pieces come only once somebody reads. What nobody waits for then is kept: a reader who lags behind
// takes what came since as one piece.

import type { ToolCall } from './chat/messages.js'
import { MillraceError } from './errors.js'

/** A chosen token's log-probability, and those of the most likely tokens beside it. */
export interface TokenLogprob {
  token: number
  /** What the bytes spell; bytes that are no whole character come out as U+FFFD. */
  text: string
  bytes: Uint8Array
  /** Natural logarithm, of the model's distribution before temperature and cuts. */
  logprob: number
  top: { token: number; text: string; logprob: number }[]
}

/** A part of a tool call; tools are not supported yet. */
export interface ToolCallDelta {
  index: number
  id?: string
  name?: string
  arguments?: string
}

/**
 * What came since the last piece. Never ends inside a character or a possible stop string. Where
 * steps are short, a piece may hold the tokens of several: of half a millisecond for each answer
 * that runs, of 16 at most.
 */
export interface Piece {
  /** Which of the n answers. */
  index: number
  text: string
  tokens: Int32Array
  logprobs?: TokenLogprob[]
  toolCalls?: ToolCallDelta[]
  reasoning?: string
}

/** Tokens that a request cost. */
export interface Usage {
  promptTokens: number
  /** Of the prompt, taken from the cache instead of computed. */
  cachedTokens: number
  completionTokens: number
}

/** Milliseconds. */
export interface Timings {
  /** From submission to the first step. */
  queueMs: number
  /** From submission to the first token. */
  firstTokenMs: number
  /** From the first token to the last. */
  decodeMs: number
}

/** A whole answer. */
export interface Completion {
  index: number
  text: string
  tokens: Int32Array
  logprobs?: TokenLogprob[]
  toolCalls?: ToolCall[]
  reasoning?: string
  finishReason: 'stop' | 'length' | 'tool-calls' | 'abort'
  usage: Usage
  timings: Timings
  /** n > 1: all answers by index; this completion is the first. */
  choices?: Completion[]
}

/** How an answer ended, and all of it. */
export interface Ending {
  text: string
  tokens: Int32Array
  finishReason: Completion['finishReason']
  usage: Usage
  timings: Timings
}

/** What the engine's event loop does to one answer. */
export interface Feed {
  piece(text: string, tokens: Int32Array, from: number, to: number): void
  logprob(entry: TokenLogprob): void
  done(ending: Ending): void
  fail(error: MillraceError): void
}

/** The engine's side of a generation. */
export interface OpenGeneration {
  generation: Generation
  feeds: Feed[]
}

type Result = IteratorResult<Piece, undefined>

/** Continues a reader; a promise that rejects fails it. */
type Reader = (result: Result | Promise<Result>) => void

/** The end of an answer that never began; its receiver's own. */
export const nothing = (): Ending => ({
  text: '',
  tokens: new Int32Array(0),
  finishReason: 'abort',
  usage: { promptTokens: 0, cachedTokens: 0, completionTokens: 0 },
  timings: { queueMs: 0, firstTokenMs: 0, decodeMs: 0 },
})

// Holds only what came and is not read yet, until the end brings the whole answer.
class Answer {
  logprobs: TokenLogprob[] | undefined
  ending: Ending | undefined
  #text = ''
  #tokens: number[] = []
  #readUnits = 0
  #readTokens = 0

  constructor(readonly index: number) {}

  append(text: string, tokens: Int32Array, from: number, to: number): void {
    this.#text += text
    for (let i = from; i < to; i++) this.#tokens.push(tokens[i] as number)
  }

  /** What just came, for a reader who waits: then nothing else is unread. */
  pass(text: string, from: Int32Array, start: number, end: number): Piece {
    const tokens = new Int32Array(end - start)
    for (let i = start; i < end; i++) tokens[i - start] = from[i] as number
    return this.#piece(text, tokens)
  }

  /** Everything since the last piece, or undefined when nothing came. */
  take(): Piece | undefined {
    const { ending } = this
    if (ending === undefined) {
      if (this.#text === '' && this.#tokens.length === 0) return undefined
      const piece = this.#piece(this.#text, Int32Array.from(this.#tokens))
      this.#text = ''
      this.#tokens = []
      return piece
    }
    const text = ending.text.slice(this.#readUnits)
    const tokens = ending.tokens.slice(this.#readTokens)
    return text === '' && tokens.length === 0 ? undefined : this.#piece(text, tokens)
  }

  #piece(text: string, tokens: Int32Array): Piece {
    const piece: Piece = { index: this.index, text, tokens }
    const start = this.#readTokens
    this.#readTokens += tokens.length
    this.#readUnits += text.length
    if (this.logprobs !== undefined) piece.logprobs = this.logprobs.slice(start, this.#readTokens)
    return piece
  }

  completion(): Completion {
    const { text, tokens, ...ending } = this.ending ?? nothing()
    return {
      index: this.index,
      text,
      tokens,
      ...(this.logprobs === undefined ? {} : { logprobs: this.logprobs }),
      ...ending,
    }
  }
}

/** What a generation asks of its engine. */
export interface Requests {
  abort(): void
  /** Pieces, from now on, the first with everything until then. */
  read(): void
}

/** A new generation of n answers, and the feeds that fill it; for the engine. */
export let openGeneration: (n: number, requests: Requests) => OpenGeneration

/**
 * Both a stream and an answer: `for await` yields pieces, `await` gives the completion; both at once
 * is fine. Leaving the loop early aborts. Awaited only, it costs the JS thread nothing until its
 * end, unless log-probabilities were asked for. Made by `engine.generate()`.
 *
 * An aborted generation resolves, with `finishReason: 'abort'` and what had come until then. A failed
 * one rejects with a MillraceError. A rejection that nobody awaits or iterates is dropped: it never
 * becomes an `unhandledRejection`.
 *
 * @example
 * ```ts
 * await using engine = await Engine.open('model.gguf')
 * const generation = engine.generate({ prompt: 'Once upon a time', maxTokens: 16 })
 * for await (const piece of generation) process.stdout.write(piece.text)
 * const { usage, finishReason } = await generation
 * console.log(usage.completionTokens, finishReason)
 * ```
 */
export class Generation implements AsyncIterable<Piece>, PromiseLike<Completion> {
  readonly #answers: Answer[]
  readonly #completion: Promise<Completion>
  readonly #requests: Requests
  #settle: { resolve(value: Completion): void; reject(error: unknown): void }
  // Nearly always one at most: a list for it would be filled and emptied for every piece.
  #reader: Reader | undefined
  #laterReaders: Reader[] = []
  #unfinished: number
  #failure: unknown
  #state: 'running' | 'done' | 'failed' = 'running'
  #isIterated = false

  private constructor(n: number, requests: Requests) {
    this.#answers = Array.from({ length: n }, (_, index) => new Answer(index))
    this.#unfinished = n
    this.#requests = requests
    let settle = { resolve: (_: Completion) => {}, reject: (_: unknown) => {} }
    this.#completion = new Promise((resolve, reject) => {
      settle = { resolve, reject }
    })
    this.#settle = settle
    this.#completion.catch(() => {})
  }

  static {
    openGeneration = (n, requests) => {
      const generation = new Generation(n, requests)
      return { generation, feeds: generation.#answers.map((answer) => generation.#feed(answer)) }
    }
  }

  /**
   * The text of the completion.
   *
   * @example
   * ```ts
   * await using engine = await Engine.open('model.gguf')
   * console.log(await engine.generate({ prompt: 'Lily said', maxTokens: 8 }).text())
   * ```
   * @throws MillraceError as the generation does
   */
  async text(): Promise<string> {
    return (await this.#completion).text
  }

  /**
   * Ends the generation within one step. Harmless when it has ended already.
   *
   * @example
   * ```ts
   * await using engine = await Engine.open('model.gguf')
   * const generation = engine.generate({ prompt: 'One day' })
   * generation.abort()
   * console.log((await generation).finishReason) // abort
   * ```
   */
  abort(): void {
    if (this.#state === 'running') this.#requests.abort()
  }

  // biome-ignore lint/suspicious/noThenProperty: a Generation is awaitable by contract
  then<A = Completion, B = never>(
    onFulfilled?: ((completion: Completion) => A | PromiseLike<A>) | null,
    onRejected?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#completion.then(onFulfilled, onRejected)
  }

  /**
   * The pieces, once: they are not kept for a second reader.
   *
   * @throws MillraceError `invalid-argument` when iterated a second time
   */
  [Symbol.asyncIterator](): AsyncIterator<Piece, undefined> {
    if (this.#isIterated) {
      throw new MillraceError(
        'invalid-argument',
        'Expected a generation to be iterated once: await it for its completion instead',
      )
    }
    this.#isIterated = true
    if (this.#state === 'running') this.#requests.read()
    return {
      next: () => this.#next(),
      return: () => {
        this.abort()
        return Promise.resolve({ done: true, value: undefined })
      },
    }
  }

  #next(): Promise<Result> {
    if (this.#reader === undefined) {
      const piece = this.#take()
      if (piece !== undefined) return Promise.resolve({ done: false, value: piece })
      if (this.#state === 'failed') return Promise.reject(this.#failure)
      if (this.#state === 'done') return Promise.resolve({ done: true, value: undefined })
    }
    return new Promise((resolve) => {
      if (this.#reader === undefined) this.#reader = resolve
      else this.#laterReaders.push(resolve)
    })
  }

  /** Who waits longest. */
  #shiftReader(): Reader | undefined {
    const reader = this.#reader
    this.#reader = this.#laterReaders.length > 0 ? this.#laterReaders.shift() : undefined
    return reader
  }

  #endReaders(result: () => Result | Promise<Result>): void {
    for (let reader = this.#shiftReader(); reader; reader = this.#shiftReader()) reader(result())
  }

  /** The first unread piece, by index of the answer. */
  #take(): Piece | undefined {
    for (const answer of this.#answers) {
      const piece = answer.take()
      if (piece !== undefined) return piece
    }
    return undefined
  }

  #feed(answer: Answer): Feed {
    return {
      piece: (text, tokens, from, to) => {
        if (text === '' && from === to) return
        const reader = this.#shiftReader()
        if (reader === undefined) answer.append(text, tokens, from, to)
        else reader({ done: false, value: answer.pass(text, tokens, from, to) })
      },
      logprob: (entry) => {
        answer.logprobs ??= []
        answer.logprobs.push(entry)
      },
      done: (ending) => this.#done(answer, ending),
      fail: (error) => this.#fail(error),
    }
  }

  #done(answer: Answer, ending: Ending): void {
    answer.ending = ending
    const rest = this.#reader === undefined ? undefined : answer.take()
    if (rest !== undefined) this.#shiftReader()?.({ done: false, value: rest })
    this.#unfinished--
    if (this.#unfinished > 0 || this.#state !== 'running') return
    this.#state = 'done'
    const choices = this.#answers.map((one) => one.completion())
    const [first] = choices as [Completion]
    this.#settle.resolve(choices.length > 1 ? { ...first, choices } : first)
    this.#endReaders(() => ({ done: true, value: undefined }))
  }

  #fail(error: MillraceError): void {
    if (this.#state !== 'running') return
    this.#requests.abort() // the other answers of this generation
    this.#state = 'failed'
    this.#failure = error
    this.#settle.reject(error)
    this.#endReaders(() => Promise.reject(error))
  }
}
