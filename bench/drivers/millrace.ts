// Ours, as an application uses it: the built package, `for await` over each generation.
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { Engine, Model } from '../../lib/index.js'
import type { Arrival, OpenOptions, Runtime, Stream, StreamRequest } from '../driver.js'

type Millrace = typeof import('../../lib/index.js')

const root = new URL('../../', import.meta.url)

// What came becomes one list when the bench asks for it, after it has looked at its clocks.
const streamOf = (start: number, arrivals: Arrival[], parts: Int32Array[]): Stream => {
  let tokens: number[] | undefined
  return {
    start,
    arrivals,
    get tokens() {
      tokens ??= parts.flatMap((part) => [...part])
      return tokens
    },
  }
}

const stream = async (engine: Engine, request: StreamRequest): Promise<Stream> => {
  const start = performance.now()
  const generation = engine.generate({
    ...(request.chat === undefined
      ? { prompt: request.prompt }
      : { messages: [{ role: 'user', content: request.chat }] }),
    maxTokens: request.tokens,
    temperature: 0,
    ignoreEos: true,
  })
  if (request.awaited) {
    const { tokens } = await generation
    return streamOf(start, [{ at: performance.now(), tokens: tokens.length }], [tokens])
  }
  const arrivals: Arrival[] = []
  const parts: Int32Array[] = []
  for await (const { tokens } of generation) {
    arrivals.push({ at: request.timed ? performance.now() : start, tokens: tokens.length })
    parts.push(tokens)
  }
  return streamOf(start, arrivals, parts)
}

const pageTokens = 32

const openEngine = ({ Engine }: Millrace, model: Model, options: OpenOptions): Promise<Engine> =>
  Engine.open(model, {
    device: 'cpu',
    threads: options.threads,
    maxSequences: options.sequences,
    cacheTokens:
      options.sequences * (Math.ceil(options.contextTokens / pageTokens) + 1) * pageTokens,
    cacheType: 'f16',
  })

const text = (value: unknown): string => (value === undefined ? '' : String(value))

/** Opens the built package, so that what is measured is what is shipped. */
export const open = async (options: OpenOptions): Promise<Runtime> => {
  const millrace: Millrace = await import(new URL('dist/index.js', root).href)
  const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
  const model = await millrace.Model.open(options.file, { vocabularyOnly: options.vocabularyOnly })
  const engine = options.vocabularyOnly ? undefined : await openEngine(millrace, model, options)
  const running = (): Engine => {
    if (!engine) throw new Error('Expected an engine but the file was opened for its vocabulary')
    return engine
  }
  const stats = (): Record<string, unknown> => ({ ...engine?.stats() })
  const steps = (): number | undefined => {
    const count = stats().steps
    return typeof count === 'number' ? count : undefined
  }
  return {
    version: text(version),
    detail: [stats().device, stats().ops].map(text).filter(Boolean).join(' '),
    generate: (request) => stream(running(), request),
    parallel: (requests) => Promise.all(requests.map((request) => stream(running(), request))),
    tokenize: (value) => model.tokenize(value, { addSpecial: false, parseSpecial: false }),
    steps,
    close: async () => {
      await engine?.close()
      await model.close()
    },
  }
}
