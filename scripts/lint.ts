// `npm run lint`: format, style, types, floors. Words choose steps: `npm run lint -- biome types`.

import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { projectRoot, readSources } from '../test/support/sources.js'
import { required, runSteps, type Step } from './steps.js'

const database = [
  'build',
  ...(process.env.MILLRACE_LINT_BUILD ? [process.env.MILLRACE_LINT_BUILD] : []),
]
  .reverse()
  .find((folder) => existsSync(join(projectRoot, folder, 'compile_commands.json')))

const nativeFiles = () =>
  readSources(['native', 'test', 'bench'], /\.(cpp|h|inl)$/).map(({ path }) => path)

function tidy(): Step {
  const build = required(
    database,
    'Expected compile_commands.json in build/: run "npm run build" first',
  )
  const jobs = `-j${Math.min(availableParallelism(), 8)}`
  const files = ['/native/', '/test/native/probe/', '/test/fuzz/', '/bench/ops/']
  return {
    name: 'clang-tidy',
    command: 'run-clang-tidy',
    args: ['-quiet', jobs, '-p', build, ...files.map((folder) => `${projectRoot}${folder}`)],
  }
}

const steps: Record<string, () => Step> = {
  biome: () => ({
    name: 'biome',
    command: 'npx',
    args: ['biome', 'check', '--error-on-warnings', '.'],
  }),
  types: () => ({ name: 'types', command: 'npx', args: ['tsc', '--noEmit'] }),
  floors: () => ({
    name: 'floors',
    command: process.execPath,
    args: ['--import', 'tsx', 'test/support/floors.ts'],
  }),
  format: () => ({
    name: 'clang-format',
    command: 'clang-format',
    args: ['--dry-run', '-Werror', ...nativeFiles()],
  }),
  tidy,
}

const chosen = process.argv.slice(2)
runSteps(
  (chosen.length > 0 ? chosen : Object.keys(steps)).map((name) =>
    required(
      steps[name],
      `Expected one of ${Object.keys(steps).join(', ')} but received "${name}"`,
    )(),
  ),
)
