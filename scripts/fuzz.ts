// `npm run fuzz [-- target ...]`: builds the libFuzzer targets with clang under address and
// undefined sanitizers and runs each: MILLRACE_FUZZ_RUNS executions, or 100000 of them but no longer
// than a minute.

import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { runStep, runSteps } from './steps.js'

const build = join(projectRoot, 'build-fuzz')
const { MILLRACE_FUZZ_RUNS: asked } = process.env
const length = asked ? [`-runs=${asked}`] : ['-runs=100000', '-max_total_time=60']

const configured = runStep({
  name: 'configure',
  command: 'cmake',
  args: [
    ...['-S', '.', '-B', build, '-DCMAKE_BUILD_TYPE=RelWithDebInfo'],
    ...['-DCMAKE_CXX_COMPILER=clang++', '-DMILLRACE_FUZZ=ON', '-DMILLRACE_SANITIZE=address'],
  ],
})
if (!configured) process.exit(1)
const built = runStep({
  name: 'build',
  command: 'cmake',
  args: ['--build', build, '--target', 'fuzz', '--parallel', '2'],
})
if (!built) process.exit(1)

const wanted = process.argv.slice(2)
const targets = readdirSync(build)
  .filter((name) => /^fuzz-[a-z0-9-]+$/.test(name))
  .filter((name) => wanted.length === 0 || wanted.includes(name.slice('fuzz-'.length)))
if (targets.length === 0) {
  console.error(`Expected a fuzz target but found none for "${wanted.join(' ')}"`)
  process.exit(1)
}

function fuzz(target: string) {
  const corpus = join(build, 'corpus', target)
  mkdirSync(corpus, { recursive: true })
  const seeds = join('test/fuzz/seeds', target.slice('fuzz-'.length))
  const limits = [...length, '-rss_limit_mb=2048', '-timeout=25', '-print_final_stats=1']
  return {
    name: target,
    command: join(build, target),
    args: [...limits, `-artifact_prefix=${corpus}-`, corpus, ...existing(seeds)],
  }
}

function existing(folder: string): string[] {
  try {
    readdirSync(join(projectRoot, folder))
    return [folder]
  } catch {
    return []
  }
}

runSteps(targets.map(fuzz))
