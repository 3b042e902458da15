// `npm run build:cuda`: builds the CUDA device library and holds it to its budgets: no spill and no stack in a hot kernel,
// no products of warpgroups one after another, at most 15 MB, and it loads on a machine without a driver, where it says so.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { runStep } from './steps.js'

const build = join(projectRoot, 'build-cuda')
const mostBytes = 15e6
// Its local array is meant: a block of the embedding table is taken apart once per token.
const cold = /embed_kernel/

interface Kernel {
  name: string
  stack: number
  spilled: number
  registers: number
}

/** What ptxas -v said of every kernel and architecture. */
function kernelsIn(log: string): Kernel[] {
  const entry =
    /Compiling entry function '(\S+)' for '(\S+)'[\s\S]*?(\d+) bytes stack frame, (\d+) bytes spill stores[\s\S]*?Used (\d+) registers/g
  return [...log.matchAll(entry)].map(([, name, arch, stack, spilled, registers]) => ({
    name: `${name} (${arch})`,
    stack: Number(stack),
    spilled: Number(spilled),
    registers: Number(registers),
  }))
}

function checkKernels(): string[] {
  const folder = join(build, 'cuda')
  const logs = readdirSync(folder)
    .filter((name) => name.endsWith('.log'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
  const kernels = logs.flatMap(kernelsIn)
  if (kernels.length === 0) return ['Expected kernels in what ptxas printed but found none']
  const most = kernels.reduce((a, b) => Math.max(a, b.registers), 0)
  console.log(`${kernels.length} kernels, all architectures; at most ${most} registers`)
  // Products of a warpgroup that wait for each other: ptxas says so and goes on.
  const serialized = logs.flatMap((log) => log.match(/^.*\(C75\d\d\).*$/gm) ?? [])
  const faults = kernels
    .filter(({ name, stack, spilled }) => !cold.test(name) && (stack > 0 || spilled > 0))
    .map(({ name, stack, spilled }) => `${name}: stack ${stack}, spilled ${spilled} bytes`)
  return [...faults, ...serialized]
}

function checkLibrary(): string[] {
  const path = join(build, 'libmillrace-cuda.so')
  const bytes = statSync(path).size
  console.log(`libmillrace-cuda.so: ${(bytes / 1e6).toFixed(2)} MB`)
  const faults = bytes > mostBytes ? [`Expected at most ${mostBytes} bytes but found ${bytes}`] : []
  const probe = join(projectRoot, 'build/Release/millrace_probe.node')
  if (!existsSync(probe)) return [...faults, 'Expected the probe: run "npm run build" first']
  const { openLibrary } = createRequire(import.meta.url)(probe) as {
    openLibrary(path: string): string
  }
  const said = openLibrary(path)
  console.log(`opened: ${said}`)
  if (!/^\d+ devices?$|^no NVIDIA d/.test(said)) faults.push(`Expected devices or why not: ${said}`)
  return faults
}

const steps = [
  {
    name: 'configure',
    args: ['-S', '.', '-B', build, '-DMILLRACE_CUDA=on', '-DCMAKE_BUILD_TYPE=Release'],
  },
  {
    name: 'build',
    args: ['--build', build, '--target', 'millrace-cuda', 'gpu-probe-cuda', '--parallel', '2'],
  },
]
for (const step of steps) if (!runStep({ ...step, command: 'cmake' })) process.exit(1)
const faults = [...checkKernels(), ...checkLibrary()]
for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exit(1)
