// `npm run test:sanitize [-- address|thread] [paths]`: builds the addons under a sanitizer and runs
// the native mirror and the hostile family in a Node that has the sanitizer's runtime preloaded.
// Everything runs in one process, whose end reports what leaked; what it and its children report is
// kept in build-<name>/reports and fails the step where code of ours allocated or raced. What Node
// allocates on our behalf is its own: it leaves V8's heap as it is at an exit, and can free a promise
// that nobody settled no more once JavaScript has stopped.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { required, runStep, type Step } from './steps.js'

interface Sanitizer {
  runtime: string
  options: Record<string, string> // by variable, without log_path
  trial: 'leak' | 'race' // what must be reported, or the run proves nothing
  between: RegExp // two reports in one file
}

const sanitizers: Record<string, Sanitizer> = {
  address: {
    runtime: 'libasan.so',
    // A mistake aborts; a leak, which may be Node's, is only reported.
    options: {
      ASAN_OPTIONS: 'detect_leaks=1:allocator_may_return_null=1:abort_on_error=1:exitcode=0',
      UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1:abort_on_error=1',
    },
    trial: 'leak',
    between: /\n\s*\n/,
  },
  thread: {
    runtime: 'libtsan.so',
    // Node and V8 are not built with it: what they do among themselves is invisible to it.
    options: {
      TSAN_OPTIONS:
        'ignore_noninstrumented_modules=1:report_signal_unsafe=0:exitcode=0:' +
        'allocator_may_return_null=1',
    },
    trial: 'race',
    between: /^={18,}$/m,
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

const reportsOf = (name: string): string => join(projectRoot, `build-${name}`, 'reports')

/** Node under the sanitizer, its reports in an empty folder. */
function underSanitizer(name: string, what: string, args: string[]): Step {
  const { runtime, options } = required(sanitizers[name], name)
  rmSync(reportsOf(name), { recursive: true, force: true })
  mkdirSync(reportsOf(name), { recursive: true })
  const logged = Object.entries(options).map(([variable, value]) => [
    variable,
    `${value}:log_path=${join(reportsOf(name), 'report')}`,
  ])
  return {
    name: `${what} under ${name}`,
    command: 'env',
    args: [`LD_PRELOAD=${runtimePath(runtime)}`, process.execPath, ...args],
    env: {
      ...Object.fromEntries(logged),
      MILLRACE_BUILD: `build-${name}`,
      MILLRACE_SANITIZE: name,
    },
  }
}

const ours = /\bmillrace(::|\w*\.node)|\/native\/[\w/-]+\.(cpp|h|inl):\d/

const runtimes = /\/libsanitizer\/|\bstd::|\b__gnu_cxx::|\/include\/c\+\+\//

/** Whether the innermost frame of a stack, but for the language's own, is of this project. */
function isOurs(report: string): boolean {
  const frames = report.split('\n').filter((line) => /^\s+#\d+ /.test(line))
  const stacks = frames.join('\n').split(/(?=^\s+#0 )/m)
  return stacks.some((stack) => {
    const innermost = stack.split('\n').find((frame) => !runtimes.test(frame))
    return innermost !== undefined && ours.test(innermost)
  })
}

/** The reports, one leak or race each, that are ours. */
function ourReports(name: string): string[] {
  const { between } = required(sanitizers[name], name)
  return readdirSync(reportsOf(name))
    .flatMap((file) => readFileSync(join(reportsOf(name), file), 'utf8').split(between))
    .filter(isOurs)
}

function sees(name: string, trial: 'leak' | 'race'): boolean {
  const file = join(projectRoot, `build-${name}`, 'millrace_probe.node')
  const program = `require(${JSON.stringify(file)}).${trial}()`
  if (!runStep(underSanitizer(name, `a planted ${trial}`, ['-e', program]))) return false
  if (ourReports(name).length > 0) return true
  console.error(`Expected ${name} to report a planted ${trial}: this run would prove nothing`)
  return false
}

function tests(name: string, paths: string[]): boolean {
  const step = underSanitizer(name, 'tests', [
    ...['node_modules/vitest/vitest.mjs', 'run', ...paths],
    ...['--pool=threads', '--no-file-parallelism'],
    ...['--testTimeout=600000', '--hookTimeout=600000'],
  ])
  const passed = runStep(step)
  const reports = ourReports(name)
  for (const report of reports) console.error(`${report}\n`)
  console.log(`--- ${name}: ${reports.length} reports of ours`)
  return passed && reports.length === 0
}

const words = process.argv.slice(2)
const chosen = words.filter((word) => word in sanitizers)
const paths = words.filter((word) => !(word in sanitizers))
const names = chosen.length > 0 ? chosen : Object.keys(sanitizers)
for (const name of names) {
  const { trial } = required(sanitizers[name], name)
  const folders = paths.length > 0 ? paths : ['test/native', 'test/hostile']
  if (build(name) && sees(name, trial) && tests(name, folders)) continue
  console.error(`failed: ${name}`)
  process.exit(1)
}
