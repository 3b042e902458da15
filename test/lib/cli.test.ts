import { describe, expect, it } from 'vitest'
import { bytes, count, given, table } from '../../lib/cli/arguments.js'
import { spread } from '../../lib/cli/bench.js'
import { memoryOf } from '../../lib/cli/inspect.js'
import { Engine, Model } from '../../lib/index.js'
import { hasShared } from '../support/shared.js'
import { millrace, storyPath } from '../support/story.js'

describe('the printers', () => {
  it('say sizes and counts in short', () => {
    expect([0, 1023, 1536, 20 * 2 ** 20].map(bytes)).toEqual([
      '0 B',
      '1023 B',
      '1.50 KiB',
      '20.0 MiB',
    ])
    expect([0, 999, 260032, 7e9].map(count)).toEqual(['0', '999', '260 K', '7.00 B'])
    expect(
      table([
        ['a', '1'],
        ['long', '2'],
      ]),
    ).toBe('a     1\nlong  2')
    expect(spread([3, 1, 2])).toBe('2.000 (1.000 to 3.000)')
    expect(given({ a: 1, b: undefined })).toEqual({ a: 1 })
  })
})

describe.skipIf(!hasShared)('millrace', () => {
  it('run continues a prompt, the same for the same seed', async () => {
    const args = ['run', storyPath, 'Once upon a time', '-n', '20', '--seed', '4']
    const [one, two] = await Promise.all([millrace(args), millrace(args)])
    expect(one).toMatchObject({ code: 0 })
    expect(one.stdout).toMatch(/^Once upon a time.{10,}/)
    expect(two.stdout).toBe(one.stdout)
    await using engine = await Engine.open(storyPath)
    const text = await engine
      .generate({ prompt: 'Once upon a time', maxTokens: 20, seed: 4 })
      .text()
    expect(one.stdout).toBe(`Once upon a time${text}\n`)
  })

  it('run without a prompt answers line after line and ends with its input', async () => {
    const { code, stdout } = await millrace(['run', storyPath, '-n', '5', '-t', '0'], {
      input: 'Once upon\n\nOne day\n',
    })
    expect(code).toBe(0)
    expect(stdout.match(/> /g)?.length).toBeGreaterThanOrEqual(3)
    expect(stdout).toContain(' a time')
  })

  it.skipIf(process.platform === 'win32')('run stops its answer for Ctrl-C', async () => {
    const args = ['run', storyPath, 'Once', '-n', '480', '-t', '1', '--seed', '1']
    const { code, signal } = await millrace(args, { interrupt: /Once/ })
    // 0 when the answer had ended by itself.
    expect(signal).toBeNull()
    expect([0, 130]).toContain(code)
  })

  it.skipIf(process.platform === 'win32')('run leaves the chat for a second Ctrl-C', async () => {
    // At the prompt there is no answer to stop, so the first one leaves.
    const { code, signal } = await millrace(['run', storyPath], { interrupt: /> /, hold: true })
    expect({ code, signal }).toEqual({ code: 0, signal: null })
  })

  it('inspect says what a model is and needs, before loading it', async () => {
    const { code, stdout } = await millrace([
      'inspect',
      storyPath,
      '-c',
      '100',
      '-s',
      '4',
      '--json',
    ])
    expect(code).toBe(0)
    const { info, memory, devices } = JSON.parse(stdout)
    expect(info).toMatchObject({ architecture: 'llama', layers: 5 })
    // At least K and V, 5 layers, 4 heads of 8 numbers, 2 bytes each, 100 tokens, 4 sequences.
    expect(memory.cache).toBeGreaterThanOrEqual(2 * 5 * 4 * 8 * 2 * 100 * 4)
    expect(memory.total).toBe(memory.weights + memory.cache + memory.workspace)
    expect(devices[0]).toMatchObject({ name: 'cpu' })
    const shown = await millrace(['inspect', storyPath])
    expect(shown.stdout).toMatch(/memory for 1 x 512 tokens, f16:/)
    expect(shown.stdout).toMatch(/fits/)
  })

  it('inspect tells the cache to the byte', async () => {
    await using model = await Model.open(storyPath)
    for (const cacheType of ['f32', 'f16'] as const) {
      const own = memoryOf(model, 512, 2, cacheType)
      const options = { cacheTokens: 1024, maxSequences: 2, stepTokens: 512, cacheType }
      await using engine = await Engine.open(model, { ...options, threads: 1 })
      const { cacheBytes, workspaceBytes } = engine.stats()
      expect(own).toMatchObject({ cache: cacheBytes, workspace: workspaceBytes })
    }
  })

  it('bench measures reading and writing', async () => {
    const sizes = ['-p', '32', '-n', '8', '-r', '2', '-s', '2']
    const engine = ['--device', 'auto', '--threads', '1', '--cache-type', 'f32']
    const args = ['bench', storyPath, ...sizes, ...engine, '--json']
    const { code, stdout } = await millrace(args)
    expect(code).toBe(0)
    const { rates, ...told } = JSON.parse(stdout)
    expect(told).toMatchObject({ threads: 1, cacheType: 'f32', sequences: 2 })
    expect(told.device).toMatch(/^(cpu|cuda:\d+)$/)
    expect(told.whyNoGpu === undefined).toBe(told.device !== 'cpu')
    expect(rates.prefill).toHaveLength(2)
    expect([...rates.prefill, ...rates.decode].every((rate: number) => rate > 0)).toBe(true)
  })

  it('says what is wrong in one line and fails', async () => {
    const wrong: [string[], RegExp][] = [
      [['run', '/nowhere.gguf', 'x'], /^millrace: .*nowhere.*\(not-found\)\n$/],
      [['run', storyPath, 'x', '-t', 'hot'], /Expected a number/],
      [['run', storyPath, 'x', '-t', '99'], /"temperature".*received 99/],
      [
        ['run', storyPath, 'x', '--device', 'abacus'],
        /"device".*one of.*"cuda".*received "abacus"/,
      ],
      [
        ['run', storyPath, 'x', '--device', 'cuda:77'],
        /^millrace: .*\((unsupported|not-found)\)\n$/,
      ],
      [['bench', storyPath, '--cache-type', 'f64'], /"cacheType".*received "f64"/],
      [['bench', storyPath, '-p', '4000'], /at most 512/],
      [['inspect', storyPath, '--cache-type', 'f64'], /one of f32, f16, q8_0.*unsupported/],
      [['pull', 'nonsense'], /hf:owner\/repo/],
      [['dance'], /unknown command/],
    ]
    for (const [args, message] of wrong) {
      const { code, stderr } = await millrace(args)
      expect({ args, code }).toEqual({ args, code: 1 })
      expect(stderr).toMatch(message)
    }
  })

  it('knows its version', async () => {
    expect((await millrace(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })
})
