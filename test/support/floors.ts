// Who may include whom. A file sees its own floor and lower ones, never upward, never sideways.
// `node --import tsx test/support/floors.ts` prints the graph and the budgets, and fails on a breach.

import { pathToFileURL } from 'node:url'
import { readBudgets } from './budgets.js'
import { readSources, type SourceFile } from './sources.js'

/** Lowest first; floors that share a row never see each other. */
const nativeFloors = [
  ['base'],
  ['tensor'],
  ['ops', 'text'],
  ['model'],
  ['engine', 'jobs'],
  ['binding'],
]
// Text rests on base alone; it has no tensors.
const neverTogether: [string, string][] = [['text', 'tensor']]

const libFloors = [
  ['native', 'options', 'errors'],
  // Pure functions, data to data; the last two know only files.
  ['chat', 'grammar', 'sampling', 'builtin', 'hub'],
  ['model', 'engine', 'events', 'generation', 'messages', 'request'],
  ['session'],
  ['adapters', 'embeddings', 'jobs', 'server', 'providers'],
  ['index'], // re-exports only
  ['cli'],
]

const rankIn = (floors: string[][], floor: string): number =>
  floors.findIndex((row) => row.includes(floor))

function breach(floors: string[][], from: string, to: string): string | undefined {
  const [upper, lower] = [rankIn(floors, from), rankIn(floors, to)]
  if (upper < 0) return `"${from}" is no floor of the house`
  if (lower < 0) return `"${to}" is no floor of the house`
  if (lower > upper) return 'looks upward'
  return undefined
}

/** Native: floors on one row are strangers. */
function nativeBreach(from: string, to: string): string | undefined {
  const found = breach(nativeFloors, from, to)
  if (found !== undefined || from === to) return found
  const sideways = rankIn(nativeFloors, from) === rankIn(nativeFloors, to)
  const barred = neverTogether.some(([a, b]) => a === from && b === to)
  return sideways || barred ? 'looks sideways' : undefined
}

function nativeBreaches(file: SourceFile): string[] {
  const floor = file.path.split('/')[1] ?? ''
  const found: string[] = []
  for (const [, bracket, target = ''] of file.text.matchAll(/^\s*#include ([<"])([^>"]+)[>"]/gm)) {
    if (/^(napi|node_api|js_native_api|uv)\b/.test(target) && floor !== 'binding') {
      found.push(`${file.path} includes ${target}: only binding sees Node`)
    }
    if (bracket === '<') continue
    const reason = nativeBreach(floor, target.split('/')[0] ?? '')
    if (reason !== undefined) found.push(`${file.path} includes "${target}": ${reason}`)
    if (floor === 'engine' && target.startsWith('model/archs/')) {
      found.push(`${file.path} includes "${target}": the engine never names a family`)
    }
    if (floor === 'model' && /^ops\/(cpu|cuda)\//.test(target)) {
      found.push(`${file.path} includes "${target}": the model never names an instruction set`)
    }
  }
  return found
}

const floorOfModule = (path: string): string => (path.split('/')[1] ?? '').replace(/\.ts$/, '')

function resolveImport(from: string, target: string): string {
  return new URL(target, `file:///${from}`).pathname.slice(1).replace(/\.js$/, '.ts')
}

function libBreaches(file: SourceFile): string[] {
  const found: string[] = []
  const imports = file.text.matchAll(
    /(?:^(?:import|export)[^'"]*?from |import\(|^import )['"]([^'"]+)['"]/gm,
  )
  for (const [, target = ''] of imports) {
    if (!target.startsWith('.')) continue
    const path = resolveImport(file.path, target)
    if (!path.startsWith('lib/')) {
      if (!target.endsWith('.json')) found.push(`${file.path} imports ${target}: outside lib`)
      continue
    }
    const reason = breach(libFloors, floorOfModule(file.path), floorOfModule(path))
    if (reason !== undefined) found.push(`${file.path} imports ${target}: ${reason}`)
  }
  const touchesBinary = /node-gyp-build|\.node['"`]/.test(file.text)
  if (touchesBinary && file.path !== 'lib/native.ts') {
    found.push(`${file.path} loads the binary: only lib/native.ts does`)
  }
  return found
}

/** Every include or import of native/ and lib/ that the house forbids, one sentence each. */
export function readBreaches(
  native = readSources(['native'], /\.(h|cpp|inl|cu|cuh)$/),
  lib = readSources(['lib'], /\.ts$/),
): string[] {
  return [...native.flatMap(nativeBreaches), ...lib.flatMap(libBreaches)]
}

/** The house in two lines. */
export function printGraph(): string {
  const row = (floors: string[][]) =>
    floors
      .map((names) => names.join(', '))
      .reverse()
      .join(' -> ')
  return `native: ${row(nativeFloors)}\nlib: ${row(libFloors)}`
}

function main(): void {
  const { failures, remarks, summary } = readBudgets()
  const breaches = [...readBreaches(), ...failures]
  console.log(printGraph())
  console.log(summary)
  for (const remark of remarks) console.log(`over target: ${remark}`)
  for (const one of breaches) console.error(`FAIL ${one}`)
  if (breaches.length > 0) process.exitCode = 1
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main()
