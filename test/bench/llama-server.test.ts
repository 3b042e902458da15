import { describe, expect, it } from 'vitest'
import { addChunk, events, serverOf } from '../../bench/drivers/llama-server.js'
import type { Tools } from '../../bench/drivers/llama-tools.js'
import { standIn } from './stand-in.js'

const tools: Tools = {
  variable: 'MILLRACE_BENCH_TEST_SERVER',
  flags: { 'llama-bench': [], 'llama-batched-bench': [], 'llama-server': ['--flag'] },
  decodeArguments: () => [],
}

// Says three tokens to a prompt of n: n, one that it only counts, and n + 2.
const program = `#!${process.execPath}
const http = require('node:http')
const value = (name) => process.argv[process.argv.indexOf(name) + 1]
if (!process.argv.includes('--flag') || value('-np') !== '2' || value('-c') !== '128') {
  console.error('wrong arguments')
  process.exit(3)
}
http.createServer((request, response) => {
  if (request.url === '/health') return response.end('{}')
  if (request.url === '/props') {
    return response.end(JSON.stringify({ build_info: 'process ' + process.pid, model_path: value('-m') }))
  }
  let body = ''
  request.on('data', (part) => { body += part })
  request.on('end', () => {
    const { prompt, n_predict } = JSON.parse(body)
    if (prompt.length === 0) { response.statusCode = 400; return response.end('no prompt') }
    const first = { tokens: [prompt.length], stop: false, tokens_predicted: 1 }
    response.write('data: ' + JSON.stringify(first) + '\\n\\ndata: {"tok')
    response.write('ens":[' + (prompt.length + 2) + '],"stop":false,"tokens_predicted":3}\\n\\n')
    response.end('data: ' + JSON.stringify({ tokens: [], stop: true, tokens_predicted: n_predict }) + '\\n\\n')
  })
}).listen(Number(value('--port')), value('--host'))
`

const openOptions = {
  file: 'model.gguf',
  threads: 1,
  sequences: 2,
  contextTokens: 64,
  vocabularyOnly: false,
}
const request = (n: number) => ({
  prompt: new Int32Array(n),
  tokens: 3,
  awaited: false,
  timed: true,
})

describe.skipIf(process.platform === 'win32')('a server as a driver', () => {
  standIn(tools, 'llama-server', program)

  it('streams from it, one request per client', async () => {
    const runtime = await serverOf(tools).open(openOptions)
    try {
      const streams = await runtime.parallel([request(5), request(7)])
      expect(streams.map(({ tokens }) => tokens)).toEqual([
        [5, -1, 7],
        [7, -1, 9],
      ])
      for (const { start, arrivals } of streams) {
        expect(arrivals.reduce((sum, { tokens }) => sum + tokens, 0)).toBe(3)
        expect(arrivals.every(({ at }) => at >= start)).toBe(true)
      }
      await expect(runtime.generate(request(0))).rejects.toThrow('400: no prompt')
    } finally {
      await runtime.close()
    }
    const id = Number(/^process (\d+)$/.exec(runtime.version)?.[1])
    expect(() => process.kill(id, 0)).toThrow('ESRCH')
  })

  it('says so when the program ends instead of serving', async () => {
    const wrong = { ...openOptions, sequences: 3 }
    await expect(serverOf(tools).open(wrong)).rejects.toThrow(
      /llama-server to serve model\.gguf: it ended with 3\. wrong arguments/,
    )
  })

  it('names the variable that says where the program is', async () => {
    const unset = { ...tools, variable: 'MILLRACE_BENCH_TEST_NOTHING' }
    await expect(serverOf(unset).open(openOptions)).rejects.toThrow('$MILLRACE_BENCH_TEST_NOTHING')
  })
})

describe('what a server streams', () => {
  const bodyOf = async function* (text: string) {
    yield Buffer.from(text)
  }

  it('is taken apart event by event, an error as an error', async () => {
    const all: unknown[] = []
    for await (const one of events(
      bodyOf('data: {"tokens":[1]}\n\n: ping\n\ndata:{"stop":true}\n'),
    ))
      all.push(one)
    expect(all).toEqual([{ tokens: [1] }, { stop: true }])
    const broken = events(bodyOf('error: {"message":"full"}\n'))
    await expect(broken.next()).rejects.toThrow('full')
  })

  it('counts no token twice', () => {
    const stream = { start: 0, arrivals: [], tokens: [] }
    addChunk(stream, 1, { tokens: [4, 5] })
    addChunk(stream, 2, { tokens: [6], tokens_predicted: 4 })
    addChunk(stream, 3, { tokens: [], stop: true, tokens_predicted: 4 })
    expect(stream).toEqual({
      start: 0,
      arrivals: [
        { at: 1, tokens: 2 },
        { at: 2, tokens: 2 },
      ],
      tokens: [4, 5, -1, 6],
    })
  })

  it('counts an event where only text is told', () => {
    const stream = { start: 0, arrivals: [], tokens: [] }
    addChunk(stream, 1, { content: 'A', stop: false })
    addChunk(stream, 2, { content: '', stop: true, tokens_predicted: 2 })
    expect(stream.arrivals).toEqual([
      { at: 1, tokens: 1 },
      { at: 2, tokens: 1 },
    ])
  })

  it('is refused where it says nothing of tokens', () => {
    const stream = { start: 0, arrivals: [], tokens: [] }
    expect(() => addChunk(stream, 1, { stop: false })).toThrow('Expected tokens of the server')
  })
})
