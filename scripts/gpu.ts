// `npm run gpu`: builds the CUDA library and the GPU job, runs the job on this machine's device, natively
// and then in Node, and keeps what it found under bench/results/. Needs nvcc, and `npm run build`
// before.

import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { sharedFolder } from '../test/support/shared.js'
import { projectRoot } from '../test/support/sources.js'
import { runStep } from './steps.js'

const date = new Date().toISOString().slice(0, 10)
const out = join(projectRoot, 'bench/results', `${date}-gpu`)
const build = join(projectRoot, 'build/Release')
const cuda = join(projectRoot, 'build-cuda')

if (!existsSync(join(build, 'gpu-job'))) {
  console.error(`Expected ${build}/gpu-job: run "npm run build" first`)
  process.exit(1)
}
// A library of an earlier build must not be measured as this one.
rmSync(join(cuda, 'libmillrace-cuda.so'), { force: true })
const steps = [
  { name: 'library', command: 'npm', args: ['run', 'build:cuda'] },
  { name: 'job', command: 'bench/gpu/run.sh', args: [build, cuda, out] },
  { name: 'compile', command: 'npx', args: ['tsc', '-p', 'bench/gpu'] },
  {
    name: 'Node',
    command: process.execPath,
    args: [
      join(projectRoot, 'build/gpu-node/bench/gpu/node.js'),
      ...['--library', join(cuda, 'libmillrace-cuda.so'), '--out', join(out, 'results.jsonl')],
      ...(sharedFolder === undefined ? [] : ['--golden', sharedFolder]),
    ],
  },
]
// What fails takes nothing else with it: a machine with a device is rare.
const failed = steps.filter((step) => !runStep(step))
if (failed.length > 0) process.exit(1)
