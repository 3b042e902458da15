// Runs cases on engines, in turn, and writes what it measured. Each engine gets a fresh process in
// each round; cases of one stream on one file share it.
//   npm run bench [-- words...] [--quick] [--check] [--drivers a,b] [--out file] [--add]
//     [--rounds n] [--repetitions n] [--wait seconds]
// Words choose cases (kind, shape, type, engine); all have to fit, a,b is either. --check compares
// with the committed results of the same kind of machine, or with --against <file>, and fails on a
// loss, on a case that did not run and where there is nothing to compare with. --add keeps the rows that the file has of the same commit, with their limits: a series in
// parts. --rounds: processes of each engine, in turn; --repetitions: measurements in each (one
// in many rounds, where the machine's bandwidth moves from minute to minute), but for what a process
// does once: opening a model, a peer's batch. --wait: how long for a quiet machine before each.
// $MILLRACE_BENCH_LLAMA_CPP and $MILLRACE_BENCH_IK_LLAMA_CPP name the folders of those peers'
// binaries; without them they are left out. $MILLRACE_BENCH_CACHE and $MILLRACE_BENCH_MODELS say
// where peers and models are kept.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Case, matching, quick, sittings } from './case.js'
import { batch } from './cases/batch.js'
import { crossing } from './cases/crossing.js'
import { decode } from './cases/decode.js'
import { load } from './cases/load.js'
import { prefill } from './cases/prefill.js'
import { serve } from './cases/serve.js'
import { tokenize } from './cases/tokenize.js'
import { compared, failures, losses, newestOf } from './check.js'
import { tools as ikLlamaCpp } from './drivers/ik-llama-cpp.js'
import { tools as llamaCpp } from './drivers/llama-cpp.js'
import { type Tools, toolsFolder } from './drivers/llama-tools.js'
import { commit, cpuTimes, describeMachine, type Limits, measureLimits } from './machine.js'
import type { Job } from './measure.js'
import { modelFile, vocabulary, warmPages, work } from './model-file.js'
import { details, report } from './report.js'
import { type Results, type Row, type Run, summarize } from './results.js'
import { marker, type Sitting } from './sitting.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const resultsFolder = join(here, 'results')
const toolDrivers: Record<string, Tools> = {
  'llama-cpp': llamaCpp,
  'llama-cpp-server': llamaCpp,
  'ik-llama-cpp': ikLlamaCpp,
  'ik-llama-cpp-server': ikLlamaCpp,
}
const allCases = [...decode, ...prefill, ...batch, ...serve, ...crossing, ...load, ...tokenize]

const { values: options, positionals: filter } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    check: { type: 'boolean', default: false },
    against: { type: 'string' },
    drivers: { type: 'string' },
    rounds: { type: 'string' },
    repetitions: { type: 'string' },
    out: { type: 'string' },
    add: { type: 'boolean', default: false },
    wait: { type: 'string', default: '30' },
  },
  allowPositionals: true,
})

// How often, as an option says it.
const times = (option: 'rounds' | 'repetitions'): number | undefined => {
  const text = options[option]
  if (text === undefined) return undefined
  const count = Number(text)
  if (Number.isInteger(count) && count > 0) return count
  throw new TypeError(`Expected --${option} of 1 or more but received "${text}"`)
}

const quietShare = 0.12

// Waits until other programs use little, at most the seconds asked for.
const quietMachine = async (seconds: number, cores: number): Promise<void> => {
  const end = performance.now() + seconds * 1000
  while (performance.now() < end) {
    const before = cpuTimes()
    await setTimeout(500)
    const after = cpuTimes()
    if (!before || !after) return
    const busy = (after.busySeconds - before.busySeconds) / (after.atSeconds - before.atSeconds)
    if (busy < quietShare * cores) return
  }
}

const longestMs = 15 * 60_000

/** Starts one worker; resolves with what it measured. */
const runWorker = (job: Job): Promise<Sitting> =>
  new Promise((resolve, reject) => {
    const argv = ['--import', 'tsx', join(here, 'worker.ts'), JSON.stringify(job)]
    const child = spawn(process.execPath, argv, { cwd: join(here, '..'), timeout: longestMs })
    let output = ''
    let errors = ''
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      errors += chunk.toString()
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      const line = output.split('\n').find((text) => text.startsWith(marker))
      if (code === 0 && line) resolve(JSON.parse(line.slice(marker.length)))
      else reject(new Error(`worker ended with ${code ?? signal}: ${errors.trim().slice(-600)}`))
    })
  })

// CPUs that everything but the worker used while it ran.
const foreign = (
  before: ReturnType<typeof cpuTimes>,
  after: ReturnType<typeof cpuTimes>,
  own: number,
): number => {
  if (!before || !after) return Number.NaN
  const seconds = after.atSeconds - before.atSeconds
  return Math.max(0, (after.busySeconds - before.busySeconds - own) / seconds)
}

// A run of each case of the job.
const measured = async (job: Job, cores: number): Promise<Run[]> => {
  await quietMachine(Number(options.wait), cores)
  const before = cpuTimes()
  const { samples, cpuSeconds } = await runWorker(job)
  const foreignCpus = foreign(before, cpuTimes(), cpuSeconds)
  const values = samples.map((sample) => sample.values.map((one) => one.toPrecision(4)).join(' '))
  const others = `others ${foreignCpus.toFixed(2)} CPUs`
  console.log(`  ${job.round + 1} ${job.driver}: ${values.join(' | ')} (${others})`)
  return samples.map((sample) => ({ driver: job.driver, sample, foreignCpus }))
}

// What was thrown, also where a process told it among the lines of its stack.
const reasonOf = (error: unknown): string => {
  const lines = (error instanceof Error ? error.message : String(error)).split('\n')
  const thrown = lines.find((line) => /^\s*\w*Error: /.test(line)) ?? lines[0] ?? ''
  return thrown.trim()
}

// Cases of one sitting: they are of the same file, engines, rounds.
const series = async (rows: readonly Case[], cores: number): Promise<Row[]> => {
  const [first] = rows
  if (!first) return []
  console.log(rows.map((row) => `${row.name}, ${row.unit}`).join(' | '))
  const file = modelFile(first)
  warmPages(file)
  const runs: Run[][] = rows.map(() => [])
  const failed: Record<string, string> = {}
  for (let round = 0; round < first.rounds; round++) {
    for (const driver of first.drivers.filter((name) => failed[name] === undefined)) {
      const job = { rows: [...rows], driver, file, vocabulary: vocabulary(first), round }
      try {
        for (const [i, run] of (await measured(job, cores)).entries()) runs[i]?.push(run)
      } catch (error) {
        if (driver === first.drivers[0]) throw error
        failed[driver] = reasonOf(error)
        console.log(`  ${round + 1} ${driver}: ${failed[driver]}`)
      }
    }
  }
  return rows.map((row, i) => {
    const summary = summarize(row, runs[i] ?? [], work(row))
    return Object.keys(failed).length > 0 ? { ...summary, failed } : summary
  })
}

// Cases that our own driver cannot run are said to be so; the others go on.
const seriesOrReason = async (rows: readonly Case[], cores: number): Promise<Row[]> => {
  try {
    return await series(rows, cores)
  } catch (error) {
    console.log(`  not run: ${error instanceof Error ? error.message : error}`)
    return rows.map((row) => ({ case: row, drivers: [], skipped: reasonOf(error) }))
  }
}

const limitsOrNone = (threads: number): Limits | undefined => {
  if (options.quick) return undefined
  try {
    return measureLimits(threads)
  } catch (error) {
    console.log(`limits not measured: ${error instanceof Error ? error.message : error}`)
    return undefined
  }
}

// Programs that nobody built here are left out.
const isThere = (driver: string): boolean => {
  const tools = toolDrivers[driver]
  return tools === undefined || toolsFolder(tools) !== undefined
}

const chosenCases = (): Case[] => {
  const [rounds, repetitions] = [times('rounds'), times('repetitions')]
  const names = options.drivers?.split(',')
  return matching(allCases, filter)
    .map((row) => (options.quick ? quick(row) : row))
    .map((row) => ({ ...row, ...(rounds && { rounds }), ...(repetitions && { repetitions }) }))
    .map((row) => (names ? { ...row, drivers: row.drivers.filter((d) => names.includes(d)) } : row))
    .map((row) => ({ ...row, drivers: row.drivers.filter(isThere) }))
    .filter((row) => row.drivers.length > 0)
}

const earlier = (kind: string): Results | undefined => {
  const read = (file: string): Results => JSON.parse(readFileSync(file, 'utf8'))
  if (options.against) return read(options.against)
  if (!existsSync(resultsFolder)) return undefined
  const files = readdirSync(resultsFolder).filter((file) => file.endsWith(`-${kind}.json`))
  files.sort().reverse()
  return newestOf(files.map((file) => read(join(resultsFolder, file))))
}

const check = (results: Results, before: Results | undefined): void => {
  const count = before ? compared(before, results) : 0
  const lost = before ? losses(before, results) : []
  for (const { name, before: was, after, loss } of lost) {
    console.log(`loss: ${name} from ${was} to ${after}, ${(100 * loss).toFixed(1)} %`)
  }
  const broken = failures(results)
  for (const line of broken) console.log(`failed: ${line}`)
  if (count === 0) console.log(`failed: nothing to compare with on ${results.machine.kind}`)
  if (lost.length + broken.length > 0 || count === 0) process.exitCode = 1
  else console.log(`check: no loss in ${count} of ${results.rows.length} cases, the others are new`)
}

// The rows of the earlier parts of the series.
const rowsOf = (file: string, of: string): Row[] => {
  if (!existsSync(file)) return []
  const earlier: Results = JSON.parse(readFileSync(file, 'utf8'))
  if (earlier.commit === of)
    return earlier.rows.map((row) => ({ ...row, limits: row.limits ?? earlier.limits }))
  throw new Error(`Expected results of commit ${of} in ${file} but found ${earlier.commit}`)
}

const main = async (): Promise<void> => {
  const cases = chosenCases()
  if (cases.length === 0) {
    console.error(`Expected words that choose cases but received "${filter.join(' ')}". Cases:`)
    for (const { name, drivers } of allCases) console.error(`  ${name} (${drivers.join(', ')})`)
    process.exit(2)
  }
  const machine = describeMachine()
  const date = new Date().toISOString().slice(0, 10)
  const before = earlier(machine.kind)
  const results: Results = { date, commit: commit(), machine, limits: {}, rows: [] }
  const out = options.out ?? join(resultsFolder, `${date}-${machine.kind}.json`)
  const kept = options.add ? rowsOf(out, results.commit) : []
  results.rows.push(...kept.filter(({ case: { name } }) => cases.every((row) => row.name !== name)))
  const threads = Math.max(
    ...[...cases, ...results.rows.map((row) => row.case)].map((row) => row.threads),
  )
  const save = () => {
    if (options.out === undefined && (options.quick || options.check)) return
    mkdirSync(resultsFolder, { recursive: true })
    writeFileSync(out, `${JSON.stringify(results, null, 1)}\n`)
  }
  const first = limitsOrNone(threads)
  if (first) results.limits.before = first
  for (const rows of sittings(cases)) {
    results.rows.push(...(await seriesOrReason(rows, machine.cores)))
    save()
  }
  const last = limitsOrNone(threads)
  if (last) results.limits.after = last
  save()
  console.log(`\n${report(results)}\n${details(results)}`)
  if (options.check) check(results, before)
}

await main()
