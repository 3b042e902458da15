// `npm run test:sanitize [-- address|thread]`: builds the addons under a sanitizer and runs the
// native mirror and the hostile family in a Node that has the sanitizer's runtime preloaded.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { required, runStep, runSteps, type Step } from './steps.js'

interface Sanitizer {
  runtime: string
  env: Record<string, string>
}

const suppressions = (name: string) => join(projectRoot, 'test/support', name)

const sanitizers: Record<string, Sanitizer> = {
  address: {
    runtime: 'libasan.so',
    env: {
      ASAN_OPTIONS: 'detect_leaks=1:allocator_may_return_null=1:abort_on_error=0:exitcode=99',
      LSAN_OPTIONS: `suppressions=${suppressions('lsan.supp')}:print_suppressions=0`,
      UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
    },
  },
  thread: {
    runtime: 'libtsan.so',
    env: {
      TSAN_OPTIONS:
        `suppressions=${suppressions('tsan.supp')}:ignore_noninstrumented_modules=1:` +
        'report_signal_unsafe=0:exitcode=66:allocator_may_return_null=1',
    },
  },
}

function runtimePath(name: string): string {
  const found = execFileSync('c++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim()
  return required(existsSync(found) ? found : undefined, `Expected the compiler to know ${name}`)
}

function build(name: string): boolean {
  const folder = `build-${name}`
  const flags = [
    `-DMILLRACE_SANITIZE=${name}`,
    '-DMILLRACE_TESTS=ON',
    '-DCMAKE_BUILD_TYPE=RelWithDebInfo',
    '-DMILLRACE_WERROR=OFF', // gcc 12 takes checked variants for uninitialized under a sanitizer
  ]
  return (
    runStep({
      name: `configure ${name}`,
      command: 'cmake',
      args: ['-S', '.', '-B', folder, ...flags],
    }) &&
    runStep({
      name: `build ${name}`,
      command: 'cmake',
      args: ['--build', folder, '--parallel', '2'],
    })
  )
}

/** Vitest's own process loads the runtime too; only what our addon does is reported. */
function tests(name: string, { runtime, env }: Sanitizer): Step {
  const folders = ['test/native', 'test/hostile'].filter((path) =>
    existsSync(join(projectRoot, path)),
  )
  return {
    name: `tests under ${name}`,
    command: 'env',
    args: [
      `LD_PRELOAD=${runtimePath(runtime)}`,
      process.execPath,
      ...['node_modules/vitest/vitest.mjs', 'run', ...folders, '--no-file-parallelism'],
      ...['--testTimeout=600000', '--hookTimeout=600000'],
    ],
    env: {
      ...env,
      MILLRACE_BUILD: `build-${name}`,
      MILLRACE_SANITIZE: name,
    },
  }
}

const wanted = process.argv.slice(2)
const names = wanted.length > 0 ? wanted : Object.keys(sanitizers)
const steps = names.map((name) => {
  const known = Object.keys(sanitizers).join(' or ')
  const sanitizer = required(sanitizers[name], `Expected ${known} but received "${name}"`)
  if (!build(name)) process.exit(1)
  return tests(name, sanitizer)
})
runSteps(steps)
