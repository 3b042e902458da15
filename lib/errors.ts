// The one error that this package throws besides TypeError, and its codes.

/** The names of native/base/result.h, in its order; a test compares the two. */
export const errorCodes = [
  'ok',
  'invalid-argument',
  'not-found',
  'io',
  'bad-file',
  'unsupported',
  'too-long',
  'overloaded',
  'deadline',
  'aborted',
  'closed',
  'failed',
  'out-of-memory',
  'device',
  'network',
  'internal',
] as const

/**
 * Why something failed, for programs to decide on; the message is for people.
 *
 * - `invalid-argument`: a value that only the model or the engine could refuse
 * - `not-found`: no such file or model
 * - `io`: the operating system refused a read or write
 * - `bad-file`: a file's content is not what it claims to be
 * - `unsupported`: well-formed, but not something this version can do
 * - `too-long`: the prompt exceeds the context or the cache
 * - `overloaded`: the waiting queue is full; try again later
 * - `deadline`: `deadlineMs` passed
 * - `aborted`: an AbortSignal ended it
 * - `closed`: used after `close()`
 * - `failed`: the engine failed earlier and says so
 * - `out-of-memory`: a buffer could not be had
 * - `device`: a compute device was lost or misbehaved
 * - `network`: a download failed
 * - `internal`: our own bug
 */
export type ErrorCode = Exclude<(typeof errorCodes)[number], 'ok'>

/**
 * An error with a code. Mistakes in options are `TypeError` instead.
 *
 * @example
 * ```ts
 * import { MillraceError, Model } from 'millrace'
 *
 * try {
 *   await Model.open('missing.gguf')
 * } catch (error) {
 *   if (error instanceof MillraceError && error.code === 'not-found') console.log('no such file')
 * }
 * ```
 */
export class MillraceError extends Error {
  override readonly name = 'MillraceError'

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

const known = new Set<string>(errorCodes)

/** An error of the native core as a MillraceError; anything else as it is. */
export function coded(error: unknown): unknown {
  if (error instanceof MillraceError || !(error instanceof Error)) return error
  const code = (error as Error & { code?: unknown }).code
  if (typeof code !== 'string' || !known.has(code)) return error
  return new MillraceError(code as ErrorCode, error.message)
}

/** Runs a native call; its errors come out coded. */
export function call<T>(body: () => T): T {
  try {
    return body()
  } catch (error) {
    throw coded(error)
  }
}

/** The number of an error record as an error. */
export function errorOfNumber(number: number, message: string): MillraceError {
  const code = errorCodes[number] ?? 'internal'
  return new MillraceError(code === 'ok' ? 'internal' : code, message)
}
