// Checks every option an application passes: names, types, ranges. Mistakes are TypeErrors made
// here, so that the stack is the caller's; what this version cannot honour has code `unsupported`.

import { MillraceError } from './errors.js'

/** What is wrong with a value: nothing (undefined), or what was expected instead. */
export type Check = (value: unknown) => string | undefined
export type Checks = Record<string, Check>

/** A value as an error message shows it. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value)
  }
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`
  if (Array.isArray(value)) return `an array of ${value.length}`
  if (value === null || typeof value !== 'object') return String(value)
  const name = Object.getPrototypeOf(value)?.constructor?.name
  return name === undefined || name === 'Object' ? 'an object' : `a ${name}`
}

/** The TypeError of an option. */
export function invalid(name: string, expected: string, actual: unknown): TypeError {
  return new TypeError(`Expected "${name}" to be ${expected} but received ${show(actual)}`)
}

export function unsupported(message: string): MillraceError {
  return new MillraceError('unsupported', message)
}

export const aNumber =
  (from: number, to: number): Check =>
  (value) =>
    typeof value === 'number' && value >= from && value <= to
      ? undefined
      : to === Number.POSITIVE_INFINITY
        ? `a number of at least ${from}`
        : `a number from ${from} to ${to}`

export const anInteger =
  (from: number, to = Number.MAX_SAFE_INTEGER): Check =>
  (value) =>
    Number.isSafeInteger(value) && (value as number) >= from && (value as number) <= to
      ? undefined
      : to === Number.MAX_SAFE_INTEGER
        ? `an integer of at least ${from}`
        : `an integer from ${from} to ${to}`

export const aBoolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'a boolean')

export const aString: Check = (value) => (typeof value === 'string' ? undefined : 'a string')

export const aFunction: Check = (value) => (typeof value === 'function' ? undefined : 'a function')

export const anObject: Check = (value) =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? undefined : 'an object'

export const anArray: Check = (value) => (Array.isArray(value) ? undefined : 'an array')

export const oneOf =
  (...names: string[]): Check =>
  (value) =>
    names.includes(value as string) ? undefined : `one of ${names.map(show).join(', ')}`

export const aSignal: Check = (value) =>
  value instanceof AbortSignal ? undefined : 'an AbortSignal'

export const someStrings: Check = (value) =>
  Array.isArray(value) && value.every((item) => typeof item === 'string' && item.length > 0)
    ? undefined
    : 'an array of strings that are not empty'

const maxToken = 2 ** 31 - 1

const isToken = (value: unknown): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= maxToken

export const someTokens: Check = (value) => {
  const what = 'an array of token ids (integers from 0)'
  if (value instanceof Int32Array || value instanceof Uint32Array) {
    return value.every(isToken) ? undefined : what
  }
  if (typeof value !== 'object' || value === null || !('length' in value)) return what
  const { length } = value
  if (!Number.isSafeInteger(length) || (length as number) < 0) return what
  for (let i = 0; i < (length as number); i++) {
    if (!isToken((value as Record<number, unknown>)[i])) return what
  }
  return undefined
}

/** Token ids as they cross; checked by someTokens before. */
export function toTokens(tokens: ArrayLike<number>): Int32Array {
  return tokens instanceof Int32Array ? tokens : Int32Array.from(tokens)
}

// Edits (insert, delete, replace, swap neighbours) between two names, case aside.
function distance(a: string, b: string): number {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()]
  let above: number[] = []
  let row = Array.from({ length: y.length + 1 }, (_, j) => j)
  for (let i = 1; i <= x.length; i++) {
    const next = [i]
    for (let j = 1; j <= y.length; j++) {
      const same = x[i - 1] === y[j - 1]
      let least = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (same ? 0 : 1),
      )
      if (i > 1 && j > 1 && x[i - 1] === y[j - 2] && x[i - 2] === y[j - 1]) {
        least = Math.min(least, (above[j - 2] ?? 0) + 1)
      }
      next.push(least)
    }
    above = row
    row = next
  }
  return row[y.length] ?? 0
}

/** The known name that was probably meant, if any is near. Snake case counts as near. */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const plain = name.replace(/_/g, '')
  const part = known.find((one) => one.toLowerCase().includes(plain.toLowerCase()))
  if (part !== undefined && plain.length > 2) return part
  const [best] = known
    .map((candidate) => ({ candidate, edits: distance(plain, candidate) }))
    .sort((a, b) => a.edits - b.edits)
  return best && best.edits <= Math.max(2, plain.length / 3) ? best.candidate : undefined
}

function unknownName(where: string, name: string, known: readonly string[]): TypeError {
  const near = nearest(name, known)
  const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean "${near}"?`
  return new TypeError(`Unknown option "${name}" of ${where}: ${hint}`)
}

/**
 * The options without their undefined entries, each checked. An unknown name is refused with the
 * nearest known one; a name of `later` is refused with code `unsupported` and its reason.
 */
export function checkOptions<T extends object>(
  where: string,
  options: T | undefined,
  checks: Checks,
  later: Record<string, string> = {},
): T {
  if (options === undefined) return {} as T
  if (anObject(options) !== undefined) throw invalid(where, 'an object', options)
  const known: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(options)) {
    const isLater = Object.hasOwn(later, name)
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined
    if (check === undefined && !isLater) {
      throw unknownName(where, name, [...Object.keys(checks), ...Object.keys(later)])
    }
    if (value === undefined) continue
    if (check === undefined) throw unsupported(`"${name}" is not supported yet: ${later[name]}`)
    const expected = check(value)
    if (expected !== undefined) throw invalid(name, expected, value)
    known[name] = value
  }
  return known as T
}
