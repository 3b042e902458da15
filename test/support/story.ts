// The tiny trained model, and small programs that use it in a process of their own.

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isSanitized } from './sanitized.js'
import { hasShared, keptPath, unpackedPath } from './shared.js'
import { projectRoot } from './sources.js'

/** Path of stories260K; '' where the reference data is not there. */
export const storyPath = hasShared ? unpackedPath('golden/real/stories260K.F32.gguf.gz') : ''

/** Engine options that suit it: small, one thread, exact cache. */
export const small = { threads: 1, cacheType: 'f32', cacheTokens: 8192 } as const

export interface Ended {
  code: number | null
  signal: NodeJS.Signals | null
  stdout: string
  stderr: string
}

interface SpawnOptions {
  env?: NodeJS.ProcessEnv
  input?: string
  /** SIGINT is sent when stdout matches. */
  interrupt?: RegExp
  /** Keep the input open. */
  hold?: boolean
  timeoutMs?: number
}

const patience = isSanitized ? 10 : 1

/** Runs a command to its end; one that outlives its time is killed, which shows as a signal. */
export function execute(args: string[], options: SpawnOptions = {}): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd: projectRoot,
    env: { ...process.env, ...options.env },
    stdio: 'pipe',
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), (options.timeoutMs ?? 50_000) * patience)
  let [stdout, stderr] = ['', '']
  let interrupted = options.interrupt === undefined
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    if (interrupted || !options.interrupt?.test(stdout)) return
    interrupted = true
    child.kill('SIGINT')
  })
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  if (!options.hold) child.stdin.end(options.input ?? '')
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({ code, signal, stdout, stderr })
    })
  })
}

/** Runs JavaScript text as a module; `story` is the model's path. */
export function program(text: string, options: SpawnOptions = {}): Promise<Ended> {
  const library = JSON.stringify(`file://${join(projectRoot, 'lib/index.ts')}`)
  const source = `
    import { Engine, MillraceError, Model } from ${library}
    const story = ${JSON.stringify(storyPath)}
    const small = ${JSON.stringify(small)}
    ${text}`
  return execute(['--import', 'tsx', '--input-type=module', '--eval', source], options)
}

/** A command line call: `millrace run …`. */
export function millrace(args: string[], options: SpawnOptions = {}): Promise<Ended> {
  return execute(['--import', 'tsx', 'lib/cli/main.ts', ...args], options)
}

export const delay = (ms: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, ms))

/** The code of what a promise or a call is refused with. */
export async function codeOf(body: () => unknown): Promise<string> {
  try {
    await body()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return 'nothing thrown'
}

/** The story model with a chat template in its metadata. */
export function withTemplate(template: string): string {
  const string = (text: string): Buffer => {
    const bytes = Buffer.from(text)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(bytes.length))
    return Buffer.concat([length, bytes])
  }
  const stringType = Buffer.of(8, 0, 0, 0)
  const entry = (padding: number) =>
    Buffer.concat([
      string('tokenizer.chat_template'),
      stringType,
      string(`${template}{#${' '.repeat(padding)}#}`),
    ])
  // Tensors are aligned to 32 bytes: what is put in before them is a multiple of that.
  const added = entry((32 - (entry(0).length % 32)) % 32)
  const story = readFileSync(storyPath)
  const header = Buffer.from(story.subarray(0, 24))
  header.writeBigUInt64LE(header.readBigUInt64LE(16) + 1n, 16)
  return keptPath('chat.gguf', Buffer.concat([header, added, story.subarray(24)]))
}
