// `npm run gpu`: builds the CUDA library and the GPU job, runs the job on this machine's device, and
// keeps what it found under bench/results/. Needs nvcc, and `npm run build` before.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { runStep } from './steps.js'

const date = new Date().toISOString().slice(0, 10)
const out = join(projectRoot, 'bench/results', `${date}-gpu`)
const build = join(projectRoot, 'build/Release')

if (!existsSync(join(build, 'gpu-job'))) {
  console.error(`Expected ${build}/gpu-job: run "npm run build" first`)
  process.exit(1)
}
const steps = [
  { name: 'library', command: 'npm', args: ['run', 'build:cuda'] },
  { name: 'job', command: 'bench/gpu/run.sh', args: [build, join(projectRoot, 'build-cuda'), out] },
]
for (const step of steps) if (!runStep(step)) process.exit(1)
