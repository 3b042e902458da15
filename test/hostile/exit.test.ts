// The end of the program at every moment: it ends, at once, with its own exit code.

import { describe, expect, it } from 'vitest'
import { hasShared } from '../support/shared.js'
import { program } from '../support/story.js'

const open = 'const engine = await Engine.open(story, small)\n'
const start = `
const long = (seed) => engine.generate({ prompt: 'Once', maxTokens: 450, ignoreEos: true, seed })
const live = Array.from({ length: 8 }, (_, i) => long(i))
`

const cases: [string, string, number][] = [
  ['process.exit() with live generations', `${open}${start}process.exit(7)`, 7],
  [
    'process.exit() in the middle of a loop',
    `${open}${start}for await (const _ of live[0]) process.exit(8)`,
    8,
  ],
  [
    'process.exit() with two engines and two models',
    `${open}const other = await Engine.open(story, small)
     const model = await Model.open(story)${start}
     void other.generate({ prompt: 'One' })
     setTimeout(() => process.exit(9), 5)`,
    9,
  ],
  ['process.exit() while a model opens', 'void Model.open(story); process.exit(3)', 3],
  [
    'process.exit() while an engine opens',
    'const model = await Model.open(story); void Engine.open(model, small); process.exit(4)',
    4,
  ],
  ['process.exit() while it closes', `${open}${start}void engine.close(); process.exit(5)`, 5],
  [
    'process.exit() in an exit listener',
    `${open}${start}process.on('exit', () => { live[0].abort(); process.exit(6) }); process.exit(1)`,
    6,
  ],
  ['an uncaught exception', `${open}${start}setTimeout(() => { throw new Error('x') }, 5)`, 1],
  ['an unhandled rejection', `${open}${start}Promise.reject(new Error('x'))`, 1],
  ['an idle engine that nobody closed', open, 0],
  ['an idle engine after work', `${open}await engine.generate({ prompt: 'One', maxTokens: 3 })`, 0],
  ['a model that nobody closed', 'await Model.open(story)', 0],
  ['an aborted generation', `${open}${start}for (const one of live) one.abort()`, 0],
  [
    'a failed generation that nobody awaits',
    `${open}engine.generate({ prompt: 'Once', maxTokens: 450, ignoreEos: true, deadlineMs: 1 })`,
    0,
  ],
]

describe.skipIf(!hasShared)('the program ends', () => {
  it.each(cases)('after %s', async (_, text, expected) => {
    const { code, signal, stderr } = await program(text, { timeoutMs: 30_000 })
    expect({ code, signal, stderr }).toMatchObject({ code: expected, signal: null })
  })

  it('only after generations that somebody awaits', async () => {
    const { code, stdout } = await program(
      `${open}engine.generate({ prompt: 'Once', maxTokens: 200, ignoreEos: true })
        .then(({ tokens }) => console.log('tokens', tokens.length))`,
    )
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'tokens 200\n' })
  })

  it.skipIf(process.platform === 'win32')('for SIGTERM', async () => {
    const { signal } = await program(
      `${open}${start}setTimeout(() => process.kill(process.pid, 'SIGTERM'), 5)
       setInterval(() => {}, 1000)`,
    )
    expect(signal).toBe('SIGTERM')
  })
})
