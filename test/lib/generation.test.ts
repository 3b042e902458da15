import { describe, expect, it, vi } from 'vitest'
import { MillraceError } from '../../lib/errors.js'
import { type Ending, openGeneration, type Piece } from '../../lib/generation.js'

const counts = {
  finishReason: 'stop',
  usage: { promptTokens: 1, cachedTokens: 0, completionTokens: 2 },
  timings: { queueMs: 1, firstTokenMs: 2, decodeMs: 3 },
} as const
const ending: Ending = { ...counts, text: '', tokens: new Int32Array(0) }

function open(n = 1) {
  const abort = vi.fn()
  const read = vi.fn()
  const { generation, feeds } = openGeneration(n, { abort, read })
  // The engine says all of an answer again at its end.
  const said = feeds.map(() => ({ text: '', tokens: [] as number[] }))
  const say = (index: number, text: string, ...tokens: number[]) => {
    const all = said[index]
    if (all === undefined) return
    all.text += text
    all.tokens.push(...tokens)
    feeds[index]?.piece(text, Int32Array.from(tokens), 0, tokens.length)
  }
  const end = (index = 0) => {
    const { text = '', tokens = [] } = said[index] ?? {}
    feeds[index]?.done({ ...counts, text, tokens: Int32Array.from(tokens) })
  }
  const fail = (index = 0) => feeds[index]?.fail(new MillraceError('deadline', 'too late'))
  return { generation, abort, read, say, end, fail }
}

async function collect(pieces: AsyncIterable<Piece>): Promise<Piece[]> {
  const all: Piece[] = []
  for await (const piece of pieces) all.push(piece)
  return all
}

const settle = () => new Promise((resolve) => setImmediate(resolve))

describe('a generation', () => {
  it('gives each piece to a reader who waits', async () => {
    const { generation, say, end } = open()
    const reading = collect(generation)
    for (const [text, token] of [
      ['a', 1],
      ['b', 2],
    ] as const) {
      await settle()
      say(0, text, token)
    }
    await settle()
    end()
    expect(await reading).toEqual([
      { index: 0, text: 'a', tokens: Int32Array.of(1) },
      { index: 0, text: 'b', tokens: Int32Array.of(2) },
    ])
  })

  it('merges what came before anybody read', async () => {
    const { generation, say, end } = open()
    say(0, 'a', 1)
    say(0, '', 2)
    say(0, 'b', 3)
    end()
    expect(await collect(generation)).toEqual([
      { index: 0, text: 'ab', tokens: Int32Array.of(1, 2, 3) },
    ])
  })

  it('asks for pieces when a reader comes, not before', async () => {
    const { generation, read, end } = open()
    expect(read).not.toHaveBeenCalled()
    const reading = collect(generation)
    expect(read).toHaveBeenCalledTimes(1)
    end()
    expect(await reading).toEqual([])
  })

  it('asks for nothing when it has ended', async () => {
    const { generation, read, end } = open()
    end()
    await collect(generation)
    expect(read).not.toHaveBeenCalled()
  })

  it('gives a reader what only the end brought', async () => {
    const { generation, feeds } = openGeneration(1, { abort() {}, read() {} })
    const reading = collect(generation)
    feeds[0]?.piece('a', Int32Array.of(1), 0, 1)
    await settle()
    feeds[0]?.done({ ...counts, text: 'abc', tokens: Int32Array.of(1, 2, 3) })
    expect(await reading).toEqual([
      { index: 0, text: 'a', tokens: Int32Array.of(1) },
      { index: 0, text: 'bc', tokens: Int32Array.of(2, 3) },
    ])
    const late = openGeneration(2, { abort() {}, read() {} })
    for (const [index, text] of ['x', 'yz'].entries())
      late.feeds[index]?.done({ ...counts, text, tokens: Int32Array.from(text, () => index) })
    expect(await collect(late.generation)).toEqual([
      { index: 0, text: 'x', tokens: Int32Array.of(0) },
      { index: 1, text: 'yz', tokens: Int32Array.of(1, 1) },
    ])
  })

  it('can be awaited without, before and after iteration', async () => {
    const { generation, say, end } = open()
    const before = generation.then((completion) => completion.text)
    say(0, 'a', 1)
    end()
    await collect(generation)
    expect(await before).toBe('a')
    expect(await generation).toMatchObject({ text: 'a', tokens: Int32Array.of(1), ...counts })
    expect(await generation.text()).toBe('a')
    expect((await generation).choices).toBeUndefined()
  })

  it('aborts when the loop is left early, and not again after its end', async () => {
    const { generation, say, abort, end } = open()
    say(0, 'a', 1)
    for await (const _ of generation) break
    expect(abort).toHaveBeenCalledTimes(1)
    end()
    generation.abort()
    expect(abort).toHaveBeenCalledTimes(1)
  })

  it('aborts when the loop body throws, and the error comes through', async () => {
    const { generation, say, abort } = open()
    say(0, 'a', 1)
    const loop = async () => {
      for await (const _ of generation) throw new RangeError('mine')
    }
    await expect(loop()).rejects.toThrow(new RangeError('mine'))
    expect(abort).toHaveBeenCalledTimes(1)
  })

  it('fails its readers and those who await, after the pieces that had come', async () => {
    const { generation, say, fail } = open()
    say(0, 'a', 1)
    fail()
    const seen: string[] = []
    const loop = async () => {
      for await (const piece of generation) seen.push(piece.text)
    }
    await expect(loop()).rejects.toMatchObject({ code: 'deadline' })
    expect(seen).toEqual(['a'])
    await expect(generation).rejects.toMatchObject({ code: 'deadline' })
    await expect(generation.text()).rejects.toMatchObject({ code: 'deadline' })
  })

  it('fails a reader who waits', async () => {
    const { generation, fail } = open()
    const reading = collect(generation)
    await settle()
    fail()
    await expect(reading).rejects.toMatchObject({ code: 'deadline' })
  })

  it('never becomes an unhandled rejection', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    open().fail()
    await settle()
    await settle()
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  })

  it('is iterated once', async () => {
    const { generation, end } = open()
    end()
    await collect(generation)
    expect(() => generation[Symbol.asyncIterator]()).toThrow(
      expect.objectContaining({ code: 'invalid-argument' }),
    )
  })

  it('serves several next() calls in order', async () => {
    const { generation, say, end } = open()
    const iterator = generation[Symbol.asyncIterator]()
    const reads = [iterator.next(), iterator.next(), iterator.next()]
    say(0, 'a', 1)
    say(0, 'b', 2)
    end()
    const results = await Promise.all(reads)
    expect(results.map(({ done, value }) => (done ? 'end' : value?.text))).toEqual([
      'a',
      'b',
      'end',
    ])
  })

  it('holds the logprobs of the tokens in each piece', async () => {
    const { generation, feeds } = openGeneration(1, { abort() {}, read() {} })
    const entry = (token: number) => ({
      token,
      text: '',
      bytes: new Uint8Array(),
      logprob: -token,
      top: [],
    })
    const [feed] = feeds
    const iterator = generation[Symbol.asyncIterator]()
    for (const token of [1, 2]) {
      feed?.logprob(entry(token))
      feed?.piece('x', Int32Array.of(token), 0, 1)
      const { value } = await iterator.next()
      expect(value?.logprobs).toEqual([entry(token)])
    }
    feed?.done(ending)
    expect((await generation).logprobs).toEqual([entry(1), entry(2)])
  })
})

describe('a generation of several answers', () => {
  it('ends with all of them, by index', async () => {
    const { generation, say, end } = open(2)
    say(1, 'b', 2)
    end(1)
    say(0, 'a', 1)
    end(0)
    const { choices, text } = await generation
    expect(text).toBe('a')
    expect(choices?.map((one) => [one.index, one.text])).toEqual([
      [0, 'a'],
      [1, 'b'],
    ])
    expect((await collect(generation)).map((piece) => [piece.index, piece.text])).toEqual([
      [0, 'a'],
      [1, 'b'],
    ])
  })

  it('fails as a whole and gives up the others', async () => {
    const { generation, fail, end, abort } = open(2)
    fail(1)
    end(0)
    await expect(generation).rejects.toMatchObject({ code: 'deadline' })
    expect(abort).toHaveBeenCalledTimes(1)
  })
})
