// Peers that are servers: llama-server of llama.cpp and its forks over HTTP, one slot per stream, as
// an application would talk to it. Built elsewhere, as the programs of llama-tools.ts.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import type { Driver, OpenOptions, Runtime, Stream, StreamRequest } from '../driver.js'
import { type Tools, toolsFolder } from './llama-tools.js'

/**
 * An event of a streamed `/completion`. Tokens that end inside a character are not told;
 * ik_llama.cpp tells text only, an event for each token.
 */
export interface Chunk {
  content?: string
  tokens?: number[]
  stop?: boolean
  /** So far. */
  tokens_predicted?: number
}

/** Stands for a token that was counted and not told. */
const untold = -1

/** Adds what an event brought to the stream. */
export function addChunk(stream: Stream, at: number, chunk: Chunk): void {
  const counts = chunk.tokens !== undefined || chunk.tokens_predicted !== undefined
  const told = chunk.tokens ?? (!counts && chunk.content ? [untold] : [])
  const missing = (chunk.tokens_predicted ?? 0) - stream.tokens.length - told.length
  const tokens = [...Array.from({ length: Math.max(0, missing) }, () => untold), ...told]
  if (tokens.length === 0) {
    if (chunk.stop) return
    throw new Error(`Expected tokens of the server but received ${JSON.stringify(chunk)}`)
  }
  stream.arrivals.push({ at, tokens: tokens.length })
  stream.tokens.push(...tokens)
}

/** The events of a stream of server-sent events, each one line of JSON. */
export async function* events(body: AsyncIterable<Uint8Array>): AsyncGenerator<Chunk> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of body) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const data = /^data: ?(\{.*)$/.exec(line)?.[1]
      if (data !== undefined) yield JSON.parse(data)
      else if (/^error:/.test(line)) throw new Error(`the server answered ${line}`)
    }
  }
}

/**
 * "A" in every byte-level vocabulary. The server reads the whole answer as a message and fails on
 * what random weights say, so that this token is forced on it.
 */
const ordinaryToken = 32

const attempts = 3

/** The server closes idle connections, also the one that is just being used again: asks anew then. */
async function ask(url: string, init: RequestInit): Promise<Response> {
  for (let left = attempts - 1; left > 0; left--) {
    try {
      return await fetch(url, init)
    } catch (error) {
      if (!(error instanceof TypeError)) throw error // what fetch throws where no answer came
    }
  }
  return fetch(url, init)
}

const generate = async (url: string, request: StreamRequest): Promise<Stream> => {
  const stream: Stream = { start: performance.now(), arrivals: [], tokens: [] }
  const response = await ask(`${url}/completion`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      prompt: [...request.prompt],
      n_predict: request.tokens,
      temperature: 0,
      ignore_eos: true,
      logit_bias: [[ordinaryToken, 1000]],
      cache_prompt: true,
      return_tokens: true,
      stream: true,
    }),
  })
  if (!response.ok || response.body === null) {
    throw new Error(`the server answered ${response.status}: ${await response.text()}`)
  }
  for await (const chunk of events(response.body)) addChunk(stream, performance.now(), chunk)
  return stream
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('Expected a port')
  return address.port
}

const longestStartMs = 120_000

interface Server {
  url: string
  version: string
  close(): Promise<void>
}

/** What a server says of itself; not every one says all of it. */
interface Props {
  build_info?: string
  model_path?: string
}

/** Starts it and waits until it serves the file. It ends with this process. */
async function start(program: string, file: string, args: string[]): Promise<Server> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const child = spawn(program, [...args, '-m', file, '--host', '127.0.0.1', '--port', `${port}`], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => {
    said = (said + bytes.toString()).slice(-600)
  })
  const kill = () => child.kill('SIGKILL')
  const killAndLeave = () => {
    kill()
    process.exit(143)
  }
  process.once('exit', kill)
  process.once('SIGTERM', killAndLeave)
  let why: string | undefined
  const ended = new Promise<void>((resolve) => {
    child.once('error', (error) => {
      why = error.message
      resolve()
    })
    child.once('close', (code, signal) => {
      why ??= `it ended with ${code ?? signal}`
      resolve()
    })
  })
  const close = async () => {
    kill()
    await ended
    process.removeListener('exit', kill)
    process.removeListener('SIGTERM', killAndLeave)
  }
  const end = performance.now() + longestStartMs
  while (why === undefined && performance.now() < end) {
    const health = await fetch(`${url}/health`).catch(() => undefined)
    if (health?.ok && why === undefined) {
      const props: Props = await fetch(`${url}/props`).then(
        (answer) => answer.json() as Promise<Props>,
        () => ({}),
      )
      if (props.model_path === undefined || props.model_path === file) {
        return { url, version: props.build_info ?? '', close }
      }
      why = `another one answers for ${props.model_path}`
      break
    }
    await setTimeout(50)
  }
  await close()
  throw new Error(`Expected ${program} to serve ${file}: ${why ?? 'it took too long'}. ${said}`)
}

/** A driver of such a server. */
export const serverOf = (tools: Tools): Driver => ({
  open: async ({ file, threads, sequences, contextTokens }: OpenOptions): Promise<Runtime> => {
    const folder = toolsFolder(tools)
    if (folder === undefined) throw new Error(`Expected $${tools.variable} to name a folder`)
    const flags = tools.flags['llama-server']
    const { url, version, close } = await start(join(folder, 'llama-server'), file, [
      ...['-t', String(threads), '-tb', String(threads)],
      ...['-c', String(sequences * contextTokens), '-np', String(sequences), ...flags],
    ])
    return {
      version,
      detail: `llama-server ${flags.join(' ')}`.trim(),
      generate: (request) => generate(url, request),
      parallel: (requests) => Promise.all(requests.map((request) => generate(url, request))),
      tokenize: () => {
        throw new Error('Expected a case of streams: the server does not tokenize for the bench')
      },
      steps: () => undefined,
      close,
    }
  },
})
