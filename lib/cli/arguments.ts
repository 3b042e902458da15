// Parsers and printers that the commands share.

import { type Command, InvalidArgumentError } from 'commander'
import type { EngineOptions } from '../engine.js'

/** What the commands' argument `<model>` may be. */
export const modelArgument = 'a .gguf file, hf:owner/repo[:file] that was pulled, or builtin:brook'

/** What the commands that open an engine have in common. */
export interface EngineArguments {
  device?: string
  threads?: number
  cacheType?: string
}

export const addEngineOptions = (command: Command): Command =>
  command
    .option('--device <name>', 'cpu, cuda, cuda:1, …; default: a GPU where one can run the model')
    .option('--threads <n>', 'default: the physical cores', integer(1))
    .option('--cache-type <type>', 'f32, f16 or q8_0')

/** What was given; the library checks the words. */
export const engineOptionsOf = ({ device, threads, cacheType }: EngineArguments): EngineOptions =>
  given({ device, threads, cacheType }) as EngineOptions

/** A parser of an integer option; the library checks its upper limit. */
export function integer(from: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!Number.isSafeInteger(value) || value < from) {
      throw new InvalidArgumentError(`Expected an integer of at least ${from}.`)
    }
    return value
  }
}

export function decimal(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) {
    throw new InvalidArgumentError('Expected a number.')
  }
  return value
}

/** 1536 -> "1.5 KiB". */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = count
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

/** 1234567 -> "1.23 M". */
export function count(value: number): string {
  const units = ['', ' K', ' M', ' B', ' T']
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(value, 1)) / 3))
  return unit === 0 ? String(value) : `${(value / 1000 ** unit).toPrecision(3)}${units[unit]}`
}

/** Lines of "name   value", the names padded to one width. */
export function table(rows: [string, string][]): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')
}

/** Leaves out what was not given, so that the library's own defaults hold. */
export function given<T extends object>(options: T): T {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as unknown as T
}
