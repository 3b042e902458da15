// What ran where: the processor, memory, system, commit and load of this machine, and its measured
// limits by the small program bench/limits.cpp.

import { type ExecFileSyncOptions, execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cpus, loadavg, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cacheFolder } from './install.js'

export interface Machine {
  /** Names machines whose results may be compared. */
  kind: string
  cpu: string
  cores: number
  flags: string[]
  memoryGiB: number
  governor: string
  hugePages: string
  system: string
  node: string
  load: number[]
}

/** Per number of threads: GB/s read, billions of operations per second. */
export interface Limits {
  read: number[]
  /** Microseconds of a call of the thread pool in which each worker only waits for the others. */
  barrier_us?: number[]
  f32_avx2?: number[]
  f32_avx512?: number[]
  int16_avx2?: number[]
  int16_vnni?: number[]
  int8_avx2?: number[]
  int8_avx_vnni?: number[]
  int8_vnni?: number[]
  int8_amx?: number[]
}

const root = fileURLToPath(new URL('..', import.meta.url))

const textOf = (file: string): string => {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return 'unknown'
  }
}

const known = [
  'avx2',
  'fma',
  'f16c',
  'avx512f',
  'avx512bw',
  'avx512_vnni',
  'avx512_bf16',
  'avx_vnni',
  'amx_int8',
]

const processorFlags = (): string[] => {
  const line = /^(?:flags|Features)\s*:\s*(.*)$/m.exec(textOf('/proc/cpuinfo'))?.[1] ?? ''
  const flags = new Set(line.split(' '))
  return known.filter((flag) => flags.has(flag))
}

/** CPU seconds of child processes that have ended; 0 where the system does not say. */
export const endedChildSeconds = (): number => {
  // Clock ticks are hundredths of a second for every Linux program.
  const fields = textOf('/proc/self/stat').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[13] ?? 0) + Number(fields[14] ?? 0)) / 100
}

const slug = (text: string): string =>
  text
    .toLowerCase()
    .replace(/\b(processor|cpu|\d+-core|core)\b|\((r|tm)\)/g, ' ')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')

const kindOf = (cpu: string, cores: number, flags: readonly string[]): string => {
  const info = textOf('/proc/cpuinfo')
  const model = /^model\s*:\s*(\d+)$/m.exec(info)?.[1]
  const family = /^cpu family\s*:\s*(\d+)$/m.exec(info)?.[1]
  const stepping = family && model ? `${family}-${model}` : process.arch
  const widest =
    ['avx512_vnni', 'avx512f', 'avx_vnni', 'avx2'].find((flag) => flags.includes(flag)) ?? 'plain'
  return slug(`${cpu} ${stepping} ${cores}c ${widest}`)
}

export const describeMachine = (): Machine => {
  const all = cpus()
  const cpu = all[0]?.model.trim() ?? 'unknown'
  const flags = processorFlags()
  return {
    kind: kindOf(cpu, all.length, flags),
    cpu,
    cores: all.length,
    flags,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    governor: textOf('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'),
    hugePages:
      /\[(\w+)\]/.exec(textOf('/sys/kernel/mm/transparent_hugepage/enabled'))?.[1] ?? 'unknown',
    system: `${process.platform} ${process.arch} ${release()}`,
    node: process.version,
    load: loadavg().map((value) => Number(value.toFixed(2))),
  }
}

/** The commit that is measured, with a mark where the tree has changes outside the results. */
export const commit = (): string => {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
    const changes = git(
      'status',
      '--porcelain',
      '--untracked-files=no',
      '--',
      '.',
      ':!bench/results',
    )
    return git('rev-parse', '--short=12', 'HEAD') + (changes ? '-changed' : '')
  } catch {
    return 'unknown'
  }
}

const build = (folder: string): void => {
  const quiet: ExecFileSyncOptions = { stdio: ['ignore', 'ignore', 'inherit'] }
  execFileSync('cmake', ['-S', root, '-B', folder, '-DMILLRACE_BENCH=ON'], quiet)
  execFileSync(
    'cmake',
    ['--build', folder, '--config', 'Release', '--target', 'bench-limits'],
    quiet,
  )
}

/** Builds the limits program, where its source has changed, and runs it; half a minute. */
export const measureLimits = (threads: number): Limits => {
  // One per checkout: CMake refuses a folder that another one configured.
  const folder = join(
    cacheFolder(),
    `limits-${createHash('sha256').update(root).digest('hex').slice(0, 8)}`,
  )
  build(folder)
  return JSON.parse(
    execFileSync(join(folder, 'bench-limits'), [String(threads)], { encoding: 'utf8' }),
  )
}

export interface CpuTimes {
  busySeconds: number
  atSeconds: number
}

const ticksPerSecond = 100

/** CPU time of all programs, steal included; undefined where the system does not say. */
export const cpuTimes = (): CpuTimes | undefined => {
  const line = /^cpu\s+(.*)$/m.exec(textOf('/proc/stat'))?.[1]
  if (!line) return undefined
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line
    .split(/\s+/)
    .map(Number)
  const busy = user + nice + system + irq + softirq + steal
  return { busySeconds: busy / ticksPerSecond, atSeconds: performance.now() / 1000 }
}
