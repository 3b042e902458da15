// The budgets of the house: lengths, counts and words. Over the hard limit fails, over the target
// is printed.

import { basename } from 'node:path'
import { codeOf, readSources, type SourceFile } from './sources.js'

export interface Budgets {
  failures: string[]
  remarks: string[]
  summary: string
}

const allowedMacros = ['TRY', 'CHECK', 'MILLRACE_FOR_EACH_DTYPE']
const longFiles = [
  'native/model/forward.cpp',
  'native/ops/cpu/matmul.inl',
  'native/ops/cuda/matmul.cu',
]
const generated = /^native\/base\/[a-z0-9-]*table[a-z0-9-]*\.(h|cpp)$/
// Runs kernels on the host: only tests build it. It lies below the kernels that include it.
const runner = /^native\/ops\/cuda\/host\//

// 'handleOf' names a handle, the noun. Words as strings: a list of forbidden names would itself use them.
const inName = ['manager', 'helper', 'utils?', 'common', 'misc', 'impl2']
const asPrefix = ['new', 'do', 'handle', 'process']
const wordsOfName = new RegExp(inName.join('|'), 'i')
const forbiddenCpp = new RegExp(
  `\\b(?:(?:\\w+_)?(?:${inName.join('|')})(?:_\\w+)?|(?:${asPrefix.join('|')})_[a-z]\\w*)\\b`,
  'gi',
)
const capitals = inName.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('|')
const forbiddenTs = new RegExp(
  `\\b(?:\\w*(?:${capitals})(?![a-z])\\w*|(?:${inName.join('|')})|(?:${asPrefix.join('|')})(?!Of)[A-Z]\\w*)\\b`,
  'g',
)
// Names that are not ours to choose.
const foreignNames = new Set(['common_type', 'common_type_t'])

function lengthLimits(path: string): { target: number; hard: number } {
  if (longFiles.includes(path)) return { target: 300, hard: 900 }
  if (path.includes('/simd/')) return { target: 400, hard: 600 }
  if (path.endsWith('.h')) return { target: 120, hard: 600 }
  return { target: 300, hard: 600 }
}

function checkLengths(files: SourceFile[], report: Budgets): void {
  for (const { path, lines } of files) {
    if (generated.test(path)) continue
    const { target, hard } = lengthLimits(path)
    if (lines > hard) report.failures.push(`${path} has ${lines} lines, at most ${hard}`)
    else if (lines > target) report.remarks.push(`${path} has ${lines} lines, aim at ${target}`)
  }
}

// Spells the names of CUDA C++ for the host compiler.
const spellsCuda = 'native/ops/cuda/host/cuda.h'

/** Macros that outlive their file: a row that is undefined after its table does not count. */
function checkMacros(native: SourceFile[], report: Budgets): void {
  for (const { path, text } of native) {
    if (path === spellsCuda) continue
    for (const [, name = ''] of text.matchAll(/^\s*#define (\w+)/gm)) {
      if (allowedMacros.includes(name) || text.includes(`#undef ${name}`)) continue
      report.failures.push(`${path} defines ${name}: the macros are ${allowedMacros.join(', ')}`)
    }
  }
}

function checkNames(files: SourceFile[], report: Budgets): void {
  for (const { path, text } of files) {
    if (wordsOfName.test(basename(path)))
      report.failures.push(`${path}: forbidden word in the name`)
    const pattern = path.endsWith('.ts') ? forbiddenTs : forbiddenCpp
    const found = new Set(codeOf(text).match(pattern))
    for (const name of found) {
      if (!foreignNames.has(name)) report.failures.push(`${path}: forbidden word in "${name}"`)
    }
  }
}

function countBetween(text: string, start: RegExp, item: RegExp): number {
  const from = text.search(start)
  if (from < 0) return 0
  const end = text.indexOf('\n}', from)
  return text.slice(from, end).match(item)?.length ?? 0
}

/** The names that an application can import from the package. */
export function publicNames(index: string): string[] {
  return [...codeOf(index).matchAll(/export (?:type )?\{([^}]*)\}/g)]
    .flatMap(([, list = '']) => list.split(','))
    .map((name) =>
      name
        .trim()
        .replace(/^type /, '')
        .replace(/^.* as /, ''),
    )
    .filter((name) => name !== '')
}

function checkCount(
  what: string,
  count: number,
  [target, hard]: [number, number],
  report: Budgets,
) {
  if (count > hard) report.failures.push(`${count} ${what}, at most ${hard}`)
  else if (count > target) report.remarks.push(`${count} ${what}, aim at ${target}`)
}

const sum = (files: SourceFile[]): number => files.reduce((total, { lines }) => total + lines, 0)

function floorSizes(native: SourceFile[]): string {
  const sizes = new Map<string, number>()
  for (const { path, lines } of native) {
    const floor = path.split('/')[1] ?? ''
    sizes.set(floor, (sizes.get(floor) ?? 0) + lines)
  }
  return [...sizes].map(([floor, lines]) => `${floor} ${lines}`).join(', ')
}

export function readBudgets(): Budgets {
  const native = readSources(['native'], /\.(h|cpp|inl|cu|cuh)$/)
  const lib = readSources(['lib'], /\.ts$/)
  const test = readSources(['test'], /\.(ts|h|cpp)$/)
  const bench = readSources(['bench', 'scripts', 'models'], /\.(ts|h|cpp)$/)
  const textOf = (path: string) =>
    [...native, ...lib].find((file) => file.path === path)?.text ?? ''
  const ops = countBetween(textOf('native/ops/ops.h'), /struct Ops \{/, /\(\*\w+\)\(/g)
  const names = publicNames(textOf('lib/index.ts'))
  const code = sum(native) + sum(lib)
  const runs = native.filter(({ path }) => runner.test(path))
  const made = native.filter(({ path }) => generated.test(path))
  const written = sum(native) - sum(runs) - sum(made)
  const report: Budgets = {
    failures: [],
    remarks: [],
    summary:
      `lines: ${floorSizes(native)}; in all ${written}, besides ${sum(runs)} of the runner of ` +
      `kernels and ${sum(made)} generated; ` +
      `lib ${sum(lib)}; test ${sum(test)}; bench ${sum(bench)}; ` +
      `test : code = ${(sum(test) / code).toFixed(2)}\n` +
      `operators ${ops}, public names ${names.length}`,
  }
  checkLengths([...native, ...lib, ...test, ...bench], report)
  checkMacros(native, report)
  checkNames([...native, ...lib, ...test, ...bench], report)
  checkCount('operators', ops, [24, 30], report)
  checkCount('public names', names.length, [40, 50], report)
  // The plan said about 23,000; CUDA alone has grown past its share.
  if (written > 24_000) report.failures.push(`native has ${written} lines, at most 24000`)
  if (sum(runs) > 1700) report.failures.push(`the runner has ${sum(runs)} lines, at most 1700`)
  if (sum(lib) > 8000) report.failures.push(`lib has ${sum(lib)} lines, at most 8000`)
  if (sum(test) < 0.8 * code) report.remarks.push(`test : code is below 0.8`)
  return report
}
