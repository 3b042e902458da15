// Results to Markdown tables: each number with its spread and its share of what the machine can do.
//   node --import tsx bench/report.ts [results.json...] [--into bench/README.md]
// Without a file: the newest results. --into replaces what stands between <!-- bench --> and
// <!-- /bench -->.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Case } from './case.js'
import type { Limits } from './machine.js'
import { shapes } from './model-shapes.js'
import type { DriverResult, PartLimits, Results, Row } from './results.js'
import type { Spread } from './statistics.js'

const resultsFolder = fileURLToPath(new URL('results', import.meta.url))

const short = (value: number): string => {
  if (!Number.isFinite(value)) return '-'
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}

const spreadText = ({ median, min, max }: Spread): string =>
  `**${short(median)}** (${short(min)}..${short(max)})`

/** The better of the limits measured before and after, per number of threads. */
export const limitOf = (
  limits: PartLimits,
  names: readonly (keyof Limits)[],
  threads: number,
): number => {
  const found = [limits.before, limits.after].flatMap((measured) =>
    names.map((name) => measured?.[name]?.[threads - 1] ?? 0),
  )
  return Math.max(0, ...found)
}

const integerLimits = ['int8_amx', 'int8_vnni', 'int8_avx_vnni', 'int8_avx2'] as const
const wideLimits = ['int16_vnni', 'int16_avx2'] as const
const floatLimits = ['f32_avx512', 'f32_avx2'] as const

/** The most that the machine can do for products of a type, by its instructions. */
const peakOf = (type: string, limits: PartLimits, threads: number): [number, string] => {
  const wide = ['F16', 'BF16'].includes(type) ? limitOf(limits, wideLimits, threads) : 0
  if (wide > 0) return [wide, 'int16 peak']
  return ['F32', 'F16', 'BF16'].includes(type)
    ? [limitOf(limits, floatLimits, threads), 'f32 peak']
    : [limitOf(limits, integerLimits, threads), 'int8 peak']
}

const share = (value: number, unit: string, limit: number, of: string): string =>
  limit > 0
    ? `${short(value)} ${unit}, ${((100 * value) / limit).toFixed(0)} % of ${of}`
    : `${short(value)} ${unit}`

// Keys and values in f16 that a token reads, at the middle of the answer.
const cachedBytes = ({ shape: name, promptTokens, tokens }: Case): number => {
  const shape = shapes[name]
  if (!shape) return 0
  return 4 * shape.layers * shape.kvHeads * shape.headDim * (promptTokens + tokens / 2)
}

/** What the first driver's number is of the machine's limits; empty where it has no denominator. */
export const denominator = (row: Row, limits: PartLimits): string => {
  const [ours] = row.drivers
  const { kind, threads } = row.case
  if (!ours || !row.work) return ''
  const { bytesPerToken, layerOperations, headOperations } = row.work
  const [peak, ofPeak] = peakOf(row.case.type, limits, threads)
  if (kind === 'decode') {
    const read = limitOf(limits, ['read'], threads)
    const bytes = bytesPerToken + cachedBytes(row.case)
    return share((ours.value.median * bytes) / 1e9, 'GB/s', read, 'read bandwidth')
  }
  if (kind === 'prefill') {
    return share((ours.value.median * layerOperations) / 1e9, 'GOP/s', peak, ofPeak)
  }
  if (kind !== 'batch') return ''
  const rate = ours.extra['decoding tokens/s']?.median ?? 0
  if (!(rate > 0)) return '' // there was no moment in which all decoded
  const operations = (rate * (layerOperations + headOperations)) / 1e9
  return share(operations, 'GOP/s decoding', peak, ofPeak)
}

const value = (result: DriverResult | undefined): string => {
  if (!result) return '-'
  return result.void ? `void: ${result.void}` : spreadText(result.value)
}

const ratio = (row: Row): string => {
  const peer = row.peer ?? row.drivers[1]?.driver
  const counted = row.drivers.filter(({ driver }, i) => i === 0 || driver === peer)
  if (!row.ratio || counted.some((result) => result.void)) return '-'
  const [ours, theirs] = counted.map(({ extra }) => extra['decoding tokens/s']?.median ?? 0)
  const decoding = ours && theirs ? `, decoding ${(ours / theirs).toFixed(2)}` : ''
  return row.ratio.median.toFixed(2) + decoding
}

const table = (head: readonly string[], lines: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const longestReason = 80

const peerValue = (row: Row, peer: string): string => {
  const why = row.failed?.[peer]
  return why === undefined
    ? value(row.drivers.find(({ driver }) => driver === peer))
    : `failed: ${why.replaceAll('|', '/').slice(0, longestReason)}`
}

const mainTable = (rows: readonly Row[], limits: PartLimits): string => {
  const peers = rows[0]?.case.drivers.slice(1) ?? []
  return table(
    ['case', 'unit', 'millrace', ...peers, 'times better', 'millrace, of this machine'],
    rows.map((row) => [
      row.case.name,
      row.case.unit + (row.case.limit === undefined ? '' : `, limit ${row.case.limit}`),
      row.skipped ? `not run: ${row.skipped}` : value(row.drivers[0]),
      ...peers.map((peer) => peerValue(row, peer)),
      ratio(row),
      denominator(row, row.limits ?? limits) || '-',
    ]),
  )
}

const extraLines = (row: Row): string[][] =>
  Object.keys(row.drivers[0]?.extra ?? {}).map((name) => [
    row.case.name,
    name,
    ...row.drivers.map(({ extra }) => {
      const found = extra[name]
      return found ? `${short(found.median)} / ${short(found.p99)}` : '-'
    }),
  ])

const list = (values: readonly number[] | undefined): string =>
  values ? values.map(short).join(' / ') : '-'

const limitsLine = (name: string, limits: Limits | undefined): string => {
  if (!limits) return ''
  const { read, barrier_us, f32_avx2, f32_avx512, int16_avx2, int16_vnni } = limits
  const { int8_avx2, int8_avx_vnni, int8_vnni, int8_amx } = limits
  return (
    `Limits ${name}, for 1..${read.length} threads: read ${list(read)} GB/s; ` +
    `f32 ${list(f32_avx512 ?? f32_avx2)} GFLOP/s` +
    `${int16_avx2 ? `, int16 ${list(int16_vnni ?? int16_avx2)} GOP/s` : ''}; ` +
    `int8 multiply-add pairs ${list(int8_avx2)}, ` +
    `VNNI ${list(int8_vnni ?? int8_avx_vnni)}, AMX ${list(int8_amx)} GOP/s` +
    `${barrier_us ? `; a barrier of the thread pool ${list(barrier_us)} us` : ''}.`
  )
}

// One paragraph for each part of the series, in the order of the rows.
const limitsParts = ({ limits, rows }: Results): string[] => {
  const parts = [...rows.map((row) => row.limits ?? limits), limits].map(({ before, after }) => [
    limitsLine('before', before),
    limitsLine('after', after),
  ])
  return [...new Set(parts.map((lines) => lines.filter(Boolean).join('\n')))]
}

// A busy neighbour of ours is no other program.
const busiest = (rows: readonly Row[]): number => {
  const quiet = rows.filter((row) => !row.case.busy)
  return Math.max(0, ...quiet.flatMap(({ drivers }) => drivers.flatMap((d) => d.foreignCpus)))
}

const versions = (rows: readonly Row[]): string => {
  const all = rows.flatMap(({ drivers }) =>
    drivers.map(({ driver, version, detail }) =>
      [driver, version, detail && `(${detail})`].filter(Boolean).join(' '),
    ),
  )
  return [...new Set(all)].join(', ')
}

const groups = (rows: readonly Row[]): Row[][] => {
  const peersOf = ({ case: row }: Row): string => row.drivers.slice(1).join()
  return [...new Set(rows.map(peersOf))].map((peers) =>
    rows.filter((row) => peersOf(row) === peers),
  )
}

/** All tables of one result file. */
export const report = (results: Results): string => {
  const { machine, limits, rows } = results
  const parts = [
    `${results.date}, commit ${results.commit}: ${machine.cpu}, ${machine.cores} cores ` +
      `(${machine.flags.join(' ')}), ${machine.memoryGiB} GiB, ${machine.system}, Node ` +
      `${machine.node}. ${versions(rows)}. Median (lowest..highest); engines in turn, a fresh ` +
      `process in each round; other programs used at most ${busiest(rows).toFixed(2)} CPUs.`,
    ...groups(rows).map((group) => mainTable(group, limits)),
    ...limitsParts(results),
  ]
  return `${parts.filter(Boolean).join('\n\n')}\n`
}

/** The rest of what was measured: median / p99. */
export const details = (results: Results): string =>
  groups(results.rows)
    .map((group) =>
      table(
        ['case', 'median / p99 of', ...(group[0]?.case.drivers ?? [])],
        group.flatMap(extraLines),
      ),
    )
    .join('\n\n')

const opening = '<!-- bench -->'
const closing = '<!-- /bench -->'

/** Replaces what stands between the marks. */
export const insert = (document: string, text: string): string => {
  const start = document.indexOf(opening)
  const end = document.indexOf(closing)
  if (start < 0 || end < start)
    throw new Error(`Expected ${opening} and ${closing} in the document`)
  return `${document.slice(0, start + opening.length)}\n${text}${document.slice(end)}`
}

const newest = (): string => {
  const name = readdirSync(resultsFolder)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .at(-1)
  if (!name) throw new Error(`Expected results in ${resultsFolder} but found none`)
  return join(resultsFolder, name)
}

const main = (): void => {
  const { values, positionals } = parseArgs({
    options: { into: { type: 'string' } },
    allowPositionals: true,
  })
  const files = positionals.length > 0 ? positionals : [newest()]
  const all = files.map((file): Results => JSON.parse(readFileSync(file, 'utf8')))
  if (values.into) {
    const text = all.map(report).join('\n')
    writeFileSync(values.into, insert(readFileSync(values.into, 'utf8'), text))
    return
  }
  for (const results of all) console.log(`${report(results)}\n${details(results)}`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
