// Ours, as an application uses it: the built package, `for await` over each generation.
import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import type { Engine, Model } from '../../lib/index.js'
import type { OpenOptions, Runtime, Stream, StreamRequest } from '../driver.js'

type Millrace = typeof import('../../lib/index.js')

const root = new URL('../../', import.meta.url)

const stream = async (engine: Engine, request: StreamRequest): Promise<Stream> => {
  const answer: Stream = { start: performance.now(), arrivals: [], tokens: [] }
  const generation = engine.generate({
    ...(request.chat === undefined
      ? { prompt: request.prompt }
      : { messages: [{ role: 'user', content: request.chat }] }),
    maxTokens: request.tokens,
    temperature: 0,
    ignoreEos: true,
  })
  if (request.awaited) {
    const completion = await generation
    answer.arrivals.push({ at: performance.now(), tokens: completion.tokens.length })
    return { ...answer, tokens: [...completion.tokens] }
  }
  const parts: Int32Array[] = []
  for await (const piece of generation) {
    answer.arrivals.push({ at: performance.now(), tokens: piece.tokens.length })
    parts.push(piece.tokens)
  }
  return { ...answer, tokens: parts.flatMap((part) => [...part]) }
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
