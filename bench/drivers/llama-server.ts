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

/** An event of a streamed `/completion`. Servers leave out the tokens that end inside a character. */
export interface Chunk {
  tokens?: number[]
  stop?: boolean
  /** With `stop`: of the whole answer. */
  tokens_predicted?: number
}

/** Stands for a token that was counted and not told. */
const untold = -1

/** Adds what an event brought to the stream. */
export function addChunk(stream: Stream, at: number, chunk: Chunk): void {
  const told = chunk.tokens ?? []
  const missing = chunk.stop ? (chunk.tokens_predicted ?? 0) - stream.tokens.length : 0
  const more = Math.max(0, missing - told.length)
  const tokens = [...told, ...Array.from({ length: more }, () => untold)]
  if (tokens.length === 0) return
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

const generate = async (url: string, request: StreamRequest): Promise<Stream> => {
  const stream: Stream = { start: performance.now(), arrivals: [], tokens: [] }
  const response = await fetch(`${url}/completion`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      prompt: [...request.prompt],
      n_predict: request.tokens,
      temperature: 0,
      ignore_eos: true,
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

async function untilReady(url: string, hasEnded: () => boolean): Promise<void> {
  const end = performance.now() + longestStartMs
  while (performance.now() < end && !hasEnded()) {
    const response = await fetch(`${url}/health`).catch(() => undefined)
    if (response?.ok) return
    await setTimeout(50)
  }
  throw new Error('Expected the server to get ready')
}

/** A driver of such a server. */
export const serverOf = (tools: Tools): Driver => ({
  open: async ({ file, threads, sequences, contextTokens }: OpenOptions): Promise<Runtime> => {
    const folder = toolsFolder(tools)
    if (folder === undefined) throw new Error(`Expected $${tools.variable} to name a folder`)
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const flags = tools.flags['llama-server']
    const child = spawn(
      join(folder, 'llama-server'),
      [
        ...['-m', file, '-t', String(threads), '-tb', String(threads)],
        ...['-c', String(sequences * contextTokens), '-np', String(sequences)],
        ...['--host', '127.0.0.1', '--port', String(port), ...flags],
      ],
      { stdio: 'ignore' },
    )
    const ended = new Promise<void>((resolve) => {
      child.once('error', () => resolve())
      child.once('exit', () => resolve())
    })
    let isOver = false
    ended.then(() => {
      isOver = true
    })
    const close = async () => {
      child.kill('SIGKILL')
      await ended
    }
    try {
      await untilReady(url, () => isOver)
    } catch (error) {
      await close()
      throw error
    }
    return {
      version: '',
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
