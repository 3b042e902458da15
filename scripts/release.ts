// `npm run release`: a prebuilt addon for this platform, the packed tarball, and the proof that it
// installs and runs in an empty folder without a compiler. Publishing is the workflow's part.

import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { runStep, type Step } from './steps.js'

const mostBytes = 10e6 // of the tarball without prebuilt addons
const cudaLibrary = join(projectRoot, 'build-cuda/libmillrace-cuda.so')
const hasCuda = existsSync(cudaLibrary)

/** What the installed package must do; told "cuda", it must find the library in the package. */
const trial = `
import { Engine } from 'millrace'
const engine = await Engine.open('builtin:brook')
const { device, whyNoGpu = '' } = engine.stats()
console.log(device, whyNoGpu)
const isThere = device.startsWith('cuda') || whyNoGpu.startsWith('no NVIDIA d')
if (process.argv[2] === 'cuda' && !isThere) process.exitCode = 1
const story = await engine.generate({ prompt: 'Once upon a time', maxTokens: 24 }).text()
console.log(story)
await engine.close()
if (story.length < 20) process.exitCode = 1
`

/** A folder with Node, npm and a shell, and nothing that compiles. */
function bareTools(folder: string): string {
  mkdirSync(folder)
  const tools = { node: process.execPath, npm: which('npm'), sh: which('sh') }
  for (const [name, path] of Object.entries(tools))
    symlinkSync(realpathSync(path), join(folder, name))
  return folder
}

function which(name: string): string {
  const folders = (process.env.PATH ?? '').split(delimiter)
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`Expected ${name} in PATH`)
  return found
}

function headersBesideNode(): Record<string, string> {
  const prefix = resolve(dirname(process.execPath), '..')
  const present = existsSync(join(prefix, 'include/node/node_api.h'))
  return present ? { npm_config_nodedir: prefix } : {}
}

interface Packed {
  filename: string
  size: number
  files: { path: string }[]
}

function packed(...options: string[]): Packed {
  const told = execFileSync('npm', ['pack', '--json', '--ignore-scripts', ...options], {
    cwd: projectRoot,
    encoding: 'utf8',
  })
  const [first] = JSON.parse(told) as [Packed]
  return first
}

function checkSize(): void {
  const { size } = packed('--dry-run')
  console.log(`without prebuilt addons: ${size} bytes`)
  if (size >= mostBytes) throw new Error(`Expected less than ${mostBytes} bytes`)
}

function pack(): string {
  const { filename, size, files } = packed()
  const paths = files.map(({ path }) => path)
  const strays = paths.filter((path) =>
    /^(test|bench|build|\.ci)\b|probe|\.tsbuildinfo$/.test(path),
  )
  if (strays.length > 0) throw new Error(`Expected no ${strays.join(', ')} in the package`)
  if (!paths.some((path) => path.startsWith('prebuilds/')))
    throw new Error('Expected a prebuilt addon')
  console.log(`${filename}: ${size} bytes, ${paths.length} files`)
  return join(projectRoot, filename)
}

function must(step: Step): void {
  if (!runStep(step)) process.exit(1)
}

function tryPackage(tarball: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-package-'))
  const PATH = bareTools(join(folder, 'tools'))
  const app = join(folder, 'app')
  mkdirSync(app)
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }\n')
  writeFileSync(join(app, 'trial.js'), trial)
  const bare = (name: string, args: string[]): Step => ({
    name: `${name} ${args[0] ?? ''} without a compiler`,
    command: join(PATH, name),
    args,
    env: { PATH, INIT_CWD: app },
    cwd: app,
  })
  must(bare('npm', ['install', '--no-audit', '--no-fund', tarball]))
  must(bare('node', ['trial.js', ...(hasCuda ? ['cuda'] : [])]))
  must(bare('node', ['node_modules/millrace/dist/cli/main.js', '--help']))
  rmSync(folder, { recursive: true })
}

rmSync(join(projectRoot, 'prebuilds'), { recursive: true, force: true })
rmSync(join(projectRoot, 'dist'), { recursive: true, force: true })
must({ name: 'compile TypeScript', command: 'npx', args: ['tsc', '-p', 'tsconfig.build.json'] })
checkSize()
const artifacts = mkdtempSync(join(tmpdir(), 'millrace-artifacts-'))
if (hasCuda) copyFileSync(cudaLibrary, join(artifacts, 'libmillrace-cuda.so'))
else console.log('without the CUDA library: run "npm run build:cuda" first to add it')
must({
  name: 'prebuild',
  command: 'npx',
  args: ['prebuildify', '--napi', '--strip', '--artifacts', artifacts],
  env: headersBesideNode(),
})
tryPackage(pack())
