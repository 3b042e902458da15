// Worker threads: each has its own environment, and may end at any moment.

import { describe, expect, it } from 'vitest'
import { hasShared } from '../support/shared.js'
import { program } from '../support/story.js'

// Workers take text, so the program hands them a module of its own.
const worker = (text: string) => `
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
const library = new URL(import.meta.resolve(${JSON.stringify('./lib/index.ts')}, 'file://' + process.cwd() + '/x')).href
const body = \`
  const { Engine, Model } = await import('\${library}')
  const { parentPort } = await import('node:worker_threads')
  const story = \${JSON.stringify(story)}
  const small = \${JSON.stringify(small)}
  ${text}
\`
const open = () => new Worker(
  new URL('data:text/javascript,' + encodeURIComponent(
    "import { register } from '" + import.meta.resolve('tsx/esm/api') + "'; register();" +
    "await import('data:text/javascript,' + " + JSON.stringify(encodeURIComponent(body)) + ")")),
)
`

const loop = `
  const engine = await Engine.open(story, small)
  const live = Array.from({ length: 4 }, (_, i) =>
    engine.generate({ prompt: 'Once', maxTokens: 450, ignoreEos: true, seed: i }))
  parentPort.postMessage('started')
`

describe.skipIf(!hasShared)('a worker thread', () => {
  it('generates the same as the main thread, four at once', async () => {
    const { code, signal, stdout, stderr } = await program(`${worker(`
      const engine = await Engine.open(story, small)
      const request = { prompt: 'Once upon', maxTokens: 30, seed: 3 }
      parentPort.postMessage(await engine.generate(request).text())
      await engine.close()`)}
      const texts = await Promise.all(Array.from({ length: 4 }, async () => {
        const [text] = await once(open(), 'message')
        return text
      }))
      const engine = await Engine.open(story, small)
      texts.push(await engine.generate({ prompt: 'Once upon', maxTokens: 30, seed: 3 }).text())
      console.log(new Set(texts).size, texts[0].length > 10)`)
    expect({ code, signal, stdout, stderr }).toEqual({
      code: 0,
      signal: null,
      stdout: '1 true\n',
      stderr: '',
    })
  })

  it.each([0, 1, 3, 10])('is terminated %i ms into its generations', async (ms) => {
    const { code, signal, stdout, stderr } = await program(`${worker(loop)}
      for (let i = 0; i < 5; i++) {
        const one = open()
        await once(one, 'message')
        await new Promise((resolve) => setTimeout(resolve, ${ms}))
        await one.terminate()
      }
      const engine = await Engine.open(story, small)
      console.log((await engine.generate({ prompt: 'Once', maxTokens: 5 })).tokens.length)`)
    expect({ code, signal, stdout, stderr }).toMatchObject({ code: 0, stdout: '5\n' })
  })

  it('exits while it is told that its model is open', async () => {
    const { code, signal, stdout, stderr } = await program(`${worker(
      `await Model.open(story, { onProgress: (f) => { if (f === 1) process.exit() } })`,
    )}
      for (let i = 0; i < 5; i++) await once(open(), 'exit')
      console.log('alive')`)
    expect({ code, signal, stdout, stderr }).toMatchObject({ code: 0, stdout: 'alive\n' })
  })

  it('is terminated while it reads pieces', async () => {
    const { code, signal, stdout, stderr } = await program(`${worker(
      `${loop} await Promise.all(live.map(async (one) => { for await (const _ of one); }))`,
    )}
      for (let i = 0; i < 5; i++) {
        const one = open()
        await once(one, 'message')
        await one.terminate()
      }
      console.log('alive')`)
    expect({ code, signal, stdout, stderr }).toMatchObject({ code: 0, stdout: 'alive\n' })
  })

  it('is terminated while it opens models and engines', async () => {
    const { code, signal, stdout, stderr } = await program(`${worker(`
      const model = await Model.open(story)
      parentPort.postMessage('started')
      for (;;) {
        void Model.open(story).then((one) => one.close())
        const engine = await Engine.open(model, small)
        void engine.close()
      }`)}
      for (let i = 0; i < 6; i++) {
        const one = open()
        await once(one, 'message')
        await new Promise((resolve) => setTimeout(resolve, i * 3))
        await one.terminate()
      }
      console.log('alive')`)
    expect({ code, signal, stdout, stderr }).toMatchObject({ code: 0, stdout: 'alive\n' })
  })

  it.each(['process.exit(0)', 'throw new Error("mine")', ''])(
    'ends by itself with live generations: %s',
    async (end) => {
      const { code, signal, stdout, stderr } = await program(`${worker(`${loop} ${end}`)}
        const one = open()
        one.on('error', () => {})
        await new Promise((resolve) => one.on('exit', resolve))
        console.log('alive')`)
      expect({ code, signal, stdout, stderr }).toMatchObject({ code: 0, stdout: 'alive\n' })
    },
  )

  it('is at work when the main thread exits', async () => {
    const { code, signal, stderr } = await program(`${worker(loop)}
      const all = Array.from({ length: 3 }, open)
      await Promise.all(all.map((one) => once(one, 'message')))
      const engine = await Engine.open(story, small)
      void engine.generate({ prompt: 'Once', maxTokens: 400 })
      process.exit(5)`)
    expect({ code, signal, stderr }).toMatchObject({ code: 5, signal: null })
  })
})

describe.skipIf(!hasShared)('two copies of the addon in one program', () => {
  it('do not meet', async () => {
    const { code, signal, stdout, stderr } = await program(`
      import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
      import { createRequire } from 'node:module'
      import { tmpdir } from 'node:os'
      import { join } from 'node:path'
      const require = createRequire(process.cwd() + '/x')
      const folder = mkdtempSync(join(tmpdir(), 'millrace-copy-'))
      const original = join(process.cwd(), process.env.MILLRACE_BUILD ?? 'build/Release', 'millrace.node')
      copyFileSync(original, join(folder, 'copy.node'))
      const copy = require(join(folder, 'copy.node'))
      rmSync(folder, { recursive: true })
      const model = await copy.openModel(story, {}).promise
      const foreign = await Model.open(story)
      const engine = await Engine.open(foreign, small)
      const text = engine.generate({ prompt: 'Once', maxTokens: 5, temperature: 0 }).text()
      const tokens = model.tokenize('Once', true, false)
      let other
      const ended = new Promise((resolve) => { other = resolve })
      const second = await copy.openEngine(model, {}, (length, records, numbers, text) => other(text)).promise
      second.submit({ kind: 'generate', tokens, maxTokens: 1, temperature: 0, seed: 1 })
      await Promise.all([text, ended])
      await second.close(0)
      console.log('alive')
      process.exit(0)`)
    expect({ code, signal, stdout, stderr }).toMatchObject({ code: 0, stdout: 'alive\n' })
  })
})
