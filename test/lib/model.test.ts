import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Entry, ggufBytes } from '../../bench/gguf-writer.js'
import { Model } from '../../lib/index.js'
import { sampleData } from '../support/gguf-samples.js'
import { hasShared, unpackedPath } from '../support/shared.js'
import { codeOf, storyPath } from '../support/story.js'
import { tinyEntries, tinyTensors } from '../support/tiny-model.js'

describe.skipIf(!hasShared)('a model', () => {
  it('says what it is', async () => {
    await using model = await Model.open(storyPath)
    expect(model.info).toMatchObject({
      name: 'stories260K',
      architecture: 'llama',
      parameters: 260032,
      quantization: 'F32',
      contextLength: 512,
      vocabularySize: 512,
      embeddingLength: 64,
      layers: 5,
      heads: 8,
      kvHeads: 4,
      headLength: 8,
      bosToken: 1,
      eosTokens: [2],
    })
    expect(model.info.chatTemplate).toBeUndefined()
  })

  it('turns text into tokens and back', async () => {
    await using model = await Model.open(storyPath, { vocabularyOnly: true })
    const tokens = model.tokenize('Once upon a time')
    expect([...tokens]).toEqual([1, 403, 407, 261, 378])
    expect([...model.tokenize('Once upon a time', { addSpecial: false })]).toEqual([
      403, 407, 261, 378,
    ])
    expect(model.detokenize(tokens)).toBe('Once upon a time')
    expect(model.detokenize(tokens, { special: true })).toContain('<s>')
    expect(model.detokenize([])).toBe('')
    const bytes = Uint8Array.of(0xff, 0, 0x41)
    expect(model.detokenize(model.tokenize(bytes, { addSpecial: false }))).toBe('\ufffd\0A')
  })

  it('refuses other things than text and tokens', async () => {
    await using model = await Model.open(storyPath, { vocabularyOnly: true })
    for (const value of [3, null, {}, new Int32Array(1)]) {
      expect(() => model.tokenize(value as never)).toThrow(TypeError)
    }
    for (const value of ['x', [-1], [1.5], null]) {
      expect(() => model.detokenize(value as never)).toThrow(TypeError)
    }
    expect(() => model.tokenize('x', { addspecial: true } as never)).toThrow(/"addSpecial"/)
    expect(model.detokenize([2 ** 31 - 1])).toBe('')
  })

  it('tells how far opening has come, to the end', async () => {
    const seen: number[] = []
    await using _ = await Model.open(storyPath, { onProgress: (fraction) => seen.push(fraction) })
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    expect(seen.length).toBeGreaterThan(1)
    expect(seen.at(-1)).toBe(1)
  })

  it('gives up for a signal', async () => {
    const signal = AbortSignal.abort(new Error('enough'))
    expect(await codeOf(() => Model.open(storyPath, { signal }))).toBe('aborted')
    const controller = new AbortController()
    const opening = Model.open(storyPath, { signal: controller.signal })
    controller.abort()
    expect(await codeOf(() => opening)).toBe('aborted')
  })

  it('needs a template for messages only', async () => {
    const path = unpackedPath('golden/real/stories260K.Q4_0.gguf.gz')
    await using model = await Model.open(path, { useMmap: false })
    expect(model.info.quantization).toBe('Q4_0')
  })

  it('closes twice, and says so afterwards', async () => {
    const model = await Model.open(storyPath)
    await Promise.all([model.close(), model.close()])
    await model.close()
    expect(model.info.layers).toBe(5)
    for (const use of [() => model.tokenize('x'), () => model.detokenize([1])]) {
      expect(await codeOf(use)).toBe('closed')
    }
  })
})

describe('opening a model', () => {
  it('refuses what is not a model file, each with its code', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-model-'))
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text)
      return join(folder, name)
    }
    const open = (source: string) => codeOf(() => Model.open(source))
    expect(await open(join(folder, 'missing.gguf'))).toBe('not-found')
    expect(await open(folder)).toBe('bad-file')
    expect(await open(file('empty.gguf', ''))).toBe('bad-file')
    expect(await open(file('text.gguf', 'hello'))).toBe('bad-file')
    expect(await open('builtin:river')).toBe('not-found')
    expect(await open('hf:owner/repo')).toBe('unsupported')
    file('config.json', '{}')
    expect(await open(folder)).toBe('unsupported')
    rmSync(folder, { recursive: true })
  })

  const writeTiny = (name: string, own: Entry[]): string => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-model-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const path = join(folder, name)
    writeFileSync(
      path,
      ggufBytes(
        { entries: [...tinyEntries, ...own], tensors: tinyTensors },
        sampleData(tinyTensors),
      ),
    )
    return path
  }

  it('refuses heads that are wider than the operators', async () => {
    const path = writeTiny('wide.gguf', [
      { key: 'llama.attention.key_length', value: { type: 'u32', value: 2048 } },
    ])
    await expect(Model.open(path)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/at most 1024 dimensions .* 2048/),
    })
  })

  it('refuses mistakes with a TypeError', async () => {
    for (const source of ['', 3, null]) {
      await expect(Model.open(source as never)).rejects.toThrow(TypeError)
    }
    await expect(Model.open('x.gguf', { mmap: true } as never)).rejects.toThrow(/"useMmap"/)
    await expect(Model.open('x.gguf', { signal: 1 } as never)).rejects.toThrow(TypeError)
  })
})
