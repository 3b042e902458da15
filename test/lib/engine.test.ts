import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Engine, type GenerateRequest, MillraceError, Model, type Piece } from '../../lib/index.js'
import { hasShared, unpackedPath } from '../support/shared.js'
import { codeOf, delay, millrace, small, storyPath, withTemplate } from '../support/story.js'

const prompt = 'Once upon a time'

/** Of a mapped file, how much counts as this process's memory. */
function residentShare(path: string): number {
  const smaps = readFileSync('/proc/self/smaps', 'utf8')
  const own = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).filter((text) => text.includes(path))
  const sum = (field: string) =>
    own.reduce(
      (total, text) => total + Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(text)?.[1]),
      0,
    )
  return sum('Rss') / sum('Size')
}

describe.skipIf(!hasShared)('an engine', () => {
  let engine: Engine
  beforeAll(async () => {
    engine = await Engine.open(storyPath, small)
  })
  afterAll(() => engine.close())

  const refused: [string, Record<string, unknown>, RegExp][] = [
    ['no prompt', {}, /exactly one of "prompt" and "messages" but received neither/],
    ['both', { prompt, messages: [] }, /but received both/],
    ['a prompt of objects', { prompt: [{}] }, /"prompt" to be a string or an array of token ids/],
    ['an empty conversation', { messages: [] }, /"messages" to be an array of at least one/],
    ['a part', { messages: [{ role: 'user', content: [3] }] }, /"messages\[0\]\.content\[0\]"/],
    ['no role', { messages: [{ content: 'x' }] }, /"messages\[0\]\.role"/],
    ['a hot temperature', { prompt, temperature: 'hot' }, /"temperature".* received "hot"/],
    ['no tokens', { prompt, maxTokens: 0 }, /"maxTokens" to be an integer from 1/],
    ['an empty stop', { prompt, stop: [''] }, /"stop"/],
    ['a stop', { prompt, stop: 'x' }, /"stop" to be an array of strings/],
    ['no answers', { prompt, n: 0 }, /"n" to be an integer from 1/],
    ['a rank', { prompt, priority: 'high' }, /"priority" to be one of "interactive"/],
    ['a deadline', { prompt, deadlineMs: -1 }, /"deadlineMs"/],
    ['a signal', { prompt, signal: {} }, /"signal" to be an AbortSignal/],
    ['max_tokens', { prompt, max_tokens: 3 }, /did you mean "maxTokens"\?/],
  ]
  it.each(refused)('refuses %s with a TypeError at once', (_, request, message) => {
    const body = () => engine.generate(request as GenerateRequest)
    expect(body).toThrow(TypeError)
    expect(body).toThrow(message)
  })

  it.skipIf(process.platform !== 'linux')(
    'gives the file’s pages back once it has packed',
    async () => {
      const path = unpackedPath('golden/real/stories260K.F32.gguf.gz')
      await using model = await Model.open(path)
      await using engine = await Engine.open(model, { ...small, device: 'cpu' })
      if (engine.stats().ops === 'reference') return // reads the file's own form
      await engine.generate({ prompt, maxTokens: 4 })
      await expect.poll(() => residentShare(path), { timeout: 10_000 }).toBeLessThan(0.5)
    },
  )

  it.each(['tools', 'toolChoice', 'schema', 'grammar', 'regex', 'adapter'])(
    'refuses %s with code unsupported',
    async (name) => {
      expect(await codeOf(() => engine.generate({ prompt, [name]: {} }))).toBe('unsupported')
    },
  )

  it('refuses what is not there yet', async () => {
    expect(await codeOf(() => engine.embed('x'))).toBe('unsupported')
    const image = [{ type: 'image_url', image_url: { url: '' } }] as never
    const messages = [{ role: 'user', content: image }]
    expect(await codeOf(() => engine.generate({ messages }))).toBe('unsupported')
    // The story model has no chat template.
    const hello = [{ role: 'user', content: 'hello' }]
    expect(await codeOf(() => engine.generate({ messages: hello }))).toBe('unsupported')
  })

  it('streams pieces that add up to the completion', async () => {
    const generation = engine.generate({ prompt, maxTokens: 40, seed: 3 })
    const pieces: Piece[] = []
    for await (const piece of generation) pieces.push(piece)
    const completion = await generation
    expect(pieces.map((piece) => piece.text).join('')).toBe(completion.text)
    expect(pieces.flatMap((piece) => [...piece.tokens])).toEqual([...completion.tokens])
    expect(completion).toMatchObject({ index: 0, finishReason: 'length' })
    expect(completion.usage).toMatchObject({ promptTokens: 5, completionTokens: 40 })
    expect(completion.timings.firstTokenMs).toBeGreaterThanOrEqual(completion.timings.queueMs)
    expect(engine.model.detokenize(completion.tokens)).toContain(completion.text.trim())
  })

  it('gives the same answer for the same seed, read or unread', async () => {
    const request = { prompt, maxTokens: 30, seed: 11, temperature: 1 }
    const read = engine.generate(request)
    let text = ''
    for await (const piece of read) text += piece.text
    expect(await engine.generate(request).text()).toBe(text)
  })

  it('gives n answers, which are those of seeds that follow each other', async () => {
    const request = { prompt, maxTokens: 12, temperature: 1.2 }
    const generation = engine.generate({ ...request, n: 3, seed: 40 })
    const texts = ['', '', '']
    for await (const piece of generation) texts[piece.index] += piece.text
    const { choices = [], text } = await generation
    expect(choices.map((one) => one.text)).toEqual(texts)
    expect(choices.map((one) => one.index)).toEqual([0, 1, 2])
    expect(text).toBe(texts[0])
    for (const i of [0, 1, 2]) {
      expect(await engine.generate({ ...request, seed: 40 + i }).text()).toBe(texts[i])
    }
  })

  it('reports log-probabilities that agree with score()', async () => {
    const tokens = engine.model.tokenize(prompt)
    const request = { prompt: tokens, maxTokens: 6, temperature: 0, logprobs: 2 }
    const { tokens: chosen, logprobs = [] } = await engine.generate(request)
    const score = await engine.score({ prompt: [...tokens, ...chosen], top: 2 })
    expect(logprobs).toHaveLength(6)
    expect([...score.tokens]).toEqual([...tokens, ...chosen])
    expect(score.top).toHaveLength(score.tokens.length)
    for (const [i, entry] of logprobs.entries()) {
      expect(entry.token).toBe(chosen[i])
      expect(entry.logprob).toBeCloseTo(score.logprobs[tokens.length + i] as number, 4)
      expect(entry.top.map((one) => one.token)).toEqual([
        ...(score.top?.[tokens.length + i - 1]?.tokens ?? []),
      ])
      expect(entry.top[0]?.token).toBe(chosen[i])
      expect(new TextDecoder().decode(entry.bytes)).toBe(entry.text)
    }
  })

  it('scores nothing but the first token as unknown', async () => {
    const { logprobs, top } = await engine.score({ prompt })
    expect(logprobs[0]).toBeNaN()
    expect([...logprobs.slice(1)].every((value) => value < 0)).toBe(true)
    expect(top).toBeUndefined()
    await expect(engine.score({ prompt, top: 513 })).rejects.toThrow(/"top".*from 0 to 512/)
    await expect(engine.score({} as never)).rejects.toThrow(/"prompt"/)
  })

  it('ends before a stop string, which no piece shows', async () => {
    const whole = await engine.generate({ prompt, maxTokens: 60, temperature: 0 }).text()
    const stop = 'Lily'
    const generation = engine.generate({ prompt, maxTokens: 60, temperature: 0, stop: [stop] })
    let text = ''
    for await (const piece of generation) text += piece.text
    expect(text).toBe(whole.slice(0, whole.indexOf(stop)))
    expect((await generation).finishReason).toBe('stop')
  })

  it('bans a token by its bias', async () => {
    const request = { prompt, maxTokens: 1, temperature: 0 }
    const [first] = (await engine.generate(request)).tokens
    const biased = await engine.generate({ ...request, logitBias: { [first as number]: -100 } })
    expect(biased.tokens[0]).not.toBe(first)
  })

  it('aborts by method, by signal, and by leaving the loop', async () => {
    const request = { prompt, maxTokens: 400, ignoreEos: true }
    const one = engine.generate(request)
    one.abort()
    expect((await one).finishReason).toBe('abort')

    const controller = new AbortController()
    const two = engine.generate({ ...request, signal: controller.signal })
    for await (const _ of two) controller.abort()
    expect((await two).finishReason).toBe('abort')

    const three = engine.generate(request)
    for await (const _ of three) break
    const left = await three
    expect(left.finishReason).toBe('abort')
    expect(left.tokens.length).toBeGreaterThan(0)

    const gone = engine.generate({ ...request, signal: AbortSignal.abort() })
    const end = await gone
    expect(end).toMatchObject({ finishReason: 'abort', text: '' })
    end.usage.completionTokens = 99 // the receiver's own
    const next = await engine.generate({ ...request, signal: AbortSignal.abort() })
    expect(next.usage.completionTokens).toBe(0)
    expect(await codeOf(() => engine.score({ prompt, signal: AbortSignal.abort() }))).toBe(
      'aborted',
    )
  })

  it('keeps what it needs of a model that was closed', async () => {
    const model = await Model.open(
      withTemplate('{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}'),
    )
    await using own = await Engine.open(model, small)
    const ask = { messages: [{ role: 'user', content: 'Lily' }], maxTokens: 4, temperature: 0 }
    const before = await own.generate({ ...ask, logprobs: 1 })
    await model.close()
    const after = await own.generate({ ...ask, logprobs: 1 })
    expect(after.tokens).toEqual(before.tokens)
    expect(after.logprobs).toEqual(before.logprobs)
    expect(after.logprobs?.every(({ bytes }) => bytes.length > 0)).toBe(true)
  })

  it('gives back all pages after aborts', async () => {
    const all = Array.from({ length: 20 }, (_, i) =>
      engine.generate({ prompt: `${prompt} ${i}`, maxTokens: 300, ignoreEos: true }),
    )
    await delay(5)
    for (const generation of all) generation.abort()
    await Promise.all(all)
    await delay(20)
    expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, pagesHeld: 0 })
    expect(engine.stats().identityHolds).toBe(true)
  })

  it('refuses prompts beyond the context with code too-long', async () => {
    const long = new Int32Array(600).fill(5)
    expect(await codeOf(() => engine.generate({ prompt: long }))).toBe('too-long')
    expect(await codeOf(() => engine.score({ prompt: long }))).toBe('too-long')
    expect(await codeOf(() => engine.generate({ prompt: [99999] }))).toBe('invalid-argument')
  })

  it('ends late requests with code deadline', async () => {
    const request = { prompt, maxTokens: 480, ignoreEos: true, deadlineMs: 1 }
    const all = Array.from({ length: 8 }, () => codeOf(() => engine.generate(request)))
    expect(new Set(await Promise.all(all))).toEqual(new Set(['deadline']))
  })

  it('counts what it did', async () => {
    const before = engine.stats()
    await engine.generate({ prompt, maxTokens: 5, ignoreEos: true })
    const after = engine.stats()
    expect(after.completionTokens - before.completionTokens).toBe(5)
    expect(after.finished - before.finished).toBe(1)
    expect(after).toMatchObject({ state: 'open', device: 'cpu', threads: 1 })
  })
})

describe.skipIf(!hasShared)('opening an engine', () => {
  it('refuses options with a TypeError, and what is not there with code unsupported', async () => {
    const open = (options: object) => () => Engine.open(storyPath, options)
    for (const options of [
      { device: 'gpu' },
      { threads: 0 },
      { maxSequences: 1.5 },
      { cacheTokens: '1' },
      { cacheType: 'f64' },
      { stepTokens: -1 },
      { queueLimit: 0 },
      { thread: 2 },
    ]) {
      await expect(open(options)(), JSON.stringify(options)).rejects.toThrow(TypeError)
    }
    expect(await codeOf(open({ cacheType: 'f8' }))).toBe('unsupported')
    await expect(Engine.open(3 as never)).rejects.toThrow(TypeError)
  })

  it('closes the model it opened itself, and no other', async () => {
    const own = await Engine.open(storyPath, small)
    await own.close()
    expect(await codeOf(() => own.model.tokenize('x'))).toBe('closed')
    await using model = await Model.open(storyPath)
    const engine = await Engine.open(model, small)
    await engine.close()
    expect(model.tokenize('x').length).toBeGreaterThan(0)
  })

  it('refuses beyond the queue limit with code overloaded', async () => {
    await using engine = await Engine.open(storyPath, { ...small, maxSequences: 1, queueLimit: 1 })
    const all: (string | Promise<string>)[] = []
    for (let i = 0; i < 6; i++) {
      const request = { prompt, maxTokens: 50, seed: i, ignoreEos: true }
      all.push(await codeOf(() => void engine.generate(request)))
    }
    expect(all.filter((code) => code === 'overloaded').length).toBeGreaterThanOrEqual(3)
    const n = () => engine.generate({ prompt, n: 8, maxTokens: 300 })
    expect(await codeOf(n)).toBe('overloaded')
    while (engine.stats().running + engine.stats().waiting > 0) await delay(5)
  })

  it('needs weights', async () => {
    await using model = await Model.open(storyPath, { vocabularyOnly: true })
    expect(await codeOf(() => Engine.open(model))).toBe('unsupported')
  })

  it('says what does not fit', async () => {
    const error = await Engine.open(storyPath, { cacheTokens: 2 ** 50 }).catch((e) => e)
    expect(error).toBeInstanceOf(MillraceError)
    expect(error.code).toBe('out-of-memory')
  })
})

describe.skipIf(!hasShared)('a model with a chat template', () => {
  const turns = '{% for m in messages %}{{ m.content }} {% endfor %}'
  const refuses =
    "{% if messages|length > 2 %}{{ raise_exception('two turns at most') }}{% endif %}"
  const messages = [
    { role: 'system', content: [{ type: 'text' as const, text: 'Once' }] },
    { role: 'user', content: 'upon a time' },
  ]

  it('renders messages, and begins with one BOS whoever writes it', async () => {
    for (const template of [turns, `{{ bos_token }}${turns}`]) {
      await using engine = await Engine.open(withTemplate(refuses + template), small)
      const { model } = engine
      expect(model.info.chatTemplate).toContain(turns)
      const request = { maxTokens: 12, temperature: 0 }
      const prompt = model.tokenize('Once upon a time ')
      const plain = await engine.generate({ ...request, prompt })
      const chat = await engine.generate({ ...request, messages })
      expect(chat.usage.promptTokens).toBe(prompt.length)
      expect(chat.text).toBe(plain.text)
      const three = [...messages, { role: 'user', content: 'x' }]
      const error = await codeOf(() => engine.generate({ messages: three }))
      expect(error).toBe('invalid-argument')
    }
  })

  it('chats on the command line with history', async () => {
    const path = withTemplate(`${turns}`)
    const { code, stdout } = await millrace(['run', path, '-n', '4', '-t', '0'], {
      input: 'Once upon a time\nOne day\n',
    })
    expect(code).toBe(0)
    await using engine = await Engine.open(path)
    const request = { maxTokens: 4, temperature: 0 }
    const user = (content: string) => ({ role: 'user', content })
    const first = [user('Once upon a time')]
    const one = await engine.generate({ ...request, messages: first }).text()
    const second = [...first, { role: 'assistant', content: one }, user('One day')]
    const two = await engine.generate({ ...request, messages: second }).text()
    expect(stdout).toBe(`> ${one}\n> ${two}\n> `)
  })

  it('completes instead when asked to', async () => {
    const path = withTemplate(turns)
    const { stdout } = await millrace(['run', path, 'Once', '--raw', '-n', '3', '-t', '0'])
    expect(stdout).toMatch(/^Once./)
  })
})
