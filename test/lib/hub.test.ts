import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { chooseFile, findCached, parseSource, pull } from '../../lib/hub.js'
import { Model } from '../../lib/index.js'
import { hasShared } from '../support/shared.js'
import { codeOf, millrace, storyPath } from '../support/story.js'

describe('parseSource', () => {
  it('splits a name', () => {
    expect(parseSource('hf:owner/repo')).toEqual({ repo: 'owner/repo', wanted: undefined })
    expect(parseSource('hf:o/r:dir/x.gguf')).toEqual({ repo: 'o/r', wanted: 'dir/x.gguf' })
  })

  it.each(['hf:owner', 'owner/repo', 'hf:../repo', 'hf:o/..', 'hf:o/r:../../x.gguf', 'hf:o/r:'])(
    'refuses %s',
    (source) => expect(() => parseSource(source)).toThrow(TypeError),
  )
})

describe('chooseFile', () => {
  const files = ['README.md', 'm-Q8_0.gguf', 'm-Q4_K_M.gguf', 'm.f16.gguf']
  it('takes the named file, the quantization, or the usual one', () => {
    expect(chooseFile(files, undefined)).toBe('m-Q4_K_M.gguf')
    expect(chooseFile(files, 'q8_0')).toBe('m-Q8_0.gguf')
    expect(chooseFile(files, 'F16')).toBe('m.f16.gguf')
    expect(chooseFile(files, 'm-Q8_0.gguf')).toBe('m-Q8_0.gguf')
    expect(chooseFile(files, 'Q5_K')).toBeUndefined()
    expect(chooseFile(['README.md', 'only.gguf'], undefined)).toBe('only.gguf')
  })

  it('takes the first part of a split file', () => {
    const parts = ['m-Q4_0-00002-of-00002.gguf', 'm-Q4_0-00001-of-00002.gguf']
    expect(chooseFile(parts, undefined)).toBe(parts[1])
    expect(chooseFile(parts, parts[0])).toBe(parts[1])
  })
})

// What a hub answers, as far as a download asks: a listing, and files by range.
class Hub {
  readonly files = new Map<string, Buffer>()
  readonly ranges: [string, number][] = [] // file and first byte of each request for content
  /** Cut the connection after so many bytes, once. */
  cutAfter = Number.POSITIVE_INFINITY
  wrongDigest = false
  #server: Server

  constructor() {
    this.#server = createServer((request, response) => {
      const url = decodeURIComponent((request.url ?? '').split('?')[0] ?? '')
      if (url === '/api/models/owner/repo/tree/main') {
        const entries = [...this.files].map(([path, bytes]) => ({
          type: 'file',
          path,
          size: bytes.length,
          oid: 'x',
          lfs: { oid: this.#digest(bytes), size: bytes.length, pointerSize: 130 },
        }))
        response.setHeader('content-type', 'application/json')
        return response.end(JSON.stringify(entries))
      }
      const path = /^\/owner\/repo\/resolve\/main\/(.+)$/.exec(url)?.[1]
      const bytes = path === undefined ? undefined : this.files.get(path)
      if (path === undefined || bytes === undefined) {
        response.statusCode = 404
        return response.end('{}')
      }
      const [, from = '0', to = ''] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? []
      const body = bytes.subarray(Number(from), to === '' ? undefined : Number(to) + 1)
      response.writeHead(206, {
        etag: '"1"',
        'content-range': `bytes ${from}-${Number(from) + body.length - 1}/${bytes.length}`,
        'content-length': body.length,
      })
      if (to === '0') return response.end(body)
      this.ranges.push([path, Number(from)])
      if (body.length <= this.cutAfter) return response.end(body)
      const cut = body.subarray(0, this.cutAfter)
      this.cutAfter = Number.POSITIVE_INFINITY
      return response.write(cut, () => setTimeout(() => response.destroy(), 50))
    })
  }

  #digest(bytes: Buffer): string {
    return this.wrongDigest ? '0'.repeat(64) : createHash('sha256').update(bytes).digest('hex')
  }

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }
}

describe('pull', () => {
  let hub: Hub
  let cacheFolder: string
  beforeEach(async () => {
    hub = new Hub()
    vi.stubEnv('HF_ENDPOINT', await hub.open())
    vi.stubEnv('HF_TOKEN', '')
    cacheFolder = mkdtempSync(join(tmpdir(), 'millrace-hub-'))
    vi.stubEnv('MILLRACE_CACHE', cacheFolder)
  })
  afterEach(() => {
    hub.close()
    vi.unstubAllEnvs()
    rmSync(cacheFolder, { recursive: true })
  })

  it('fetches a file once, tells how far it is, and finds it again', async () => {
    const bytes = randomBytes(300_000)
    hub.files.set('m-Q4_0.gguf', bytes)
    const seen: number[] = []
    const path = await pull('hf:owner/repo:Q4_0', {
      onProgress: ({ loadedBytes, totalBytes }) => {
        seen.push(loadedBytes)
        expect(totalBytes).toBe(bytes.length)
      },
    })
    expect(readFileSync(path).equals(bytes)).toBe(true)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    expect(seen.at(-1)).toBe(bytes.length)
    expect(findCached('hf:owner/repo')).toBe(path)
    expect(await pull('hf:owner/repo')).toBe(path)
    expect(hub.ranges).toHaveLength(1)
  })

  it('goes on where a cut connection stopped', async () => {
    const bytes = randomBytes(2_000_000)
    hub.files.set('m.gguf', bytes)
    hub.cutAfter = 700_000
    expect(await codeOf(() => pull('hf:owner/repo'))).toBe('network')
    expect(findCached('hf:owner/repo')).toBeUndefined()
    const path = await pull('hf:owner/repo')
    expect(readFileSync(path).equals(bytes)).toBe(true)
    const [first, second] = hub.ranges.map(([, from]) => from)
    expect(first).toBe(0)
    expect(second).toBeGreaterThan(0)
    expect(second).toBeLessThanOrEqual(700_000)
  })

  it('stops for a signal and goes on later', async () => {
    hub.files.set('m.gguf', randomBytes(2_000_000))
    hub.cutAfter = 500_000 // so that it cannot end before the signal
    const controller = new AbortController()
    const onProgress = ({ loadedBytes }: { loadedBytes: number }) => {
      if (loadedBytes > 0) controller.abort()
    }
    const pulling = () => pull('hf:owner/repo', { signal: controller.signal, onProgress })
    expect(await codeOf(pulling)).toBe('aborted')
    expect(existsSync(await pull('hf:owner/repo'))).toBe(true)
  })

  it('fetches all parts of a split file and gives the first', async () => {
    const names = [1, 2, 3].map((i) => `big/m-F16-0000${i}-of-00003.gguf`)
    for (const name of names) hub.files.set(name, randomBytes(10_000))
    const path = await pull('hf:owner/repo')
    expect(path.endsWith('00001-of-00003.gguf')).toBe(true)
    expect(readdirSync(join(cacheFolder, 'owner/repo/big'))).toHaveLength(3)
    rmSync(path.replace('00001-of', '00003-of'))
    expect(findCached('hf:owner/repo')).toBeUndefined()
  })

  it('refuses bytes that are not what the hub names', async () => {
    hub.files.set('m.gguf', randomBytes(1000))
    hub.wrongDigest = true
    expect(await codeOf(() => pull('hf:owner/repo'))).toBe('network')
    expect(readdirSync(join(cacheFolder, 'owner/repo'))).toEqual([])
  })

  it('has codes for what is not there', async () => {
    hub.files.set('README.md', Buffer.from('x'))
    expect(await codeOf(() => pull('hf:owner/repo'))).toBe('not-found')
    expect(await codeOf(() => pull('hf:owner/other'))).toBe('not-found')
    expect(await codeOf(() => pull('nonsense'))).toMatch(/^TypeError/)
    vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:1')
    expect(await codeOf(() => pull('hf:owner/repo'))).toBe('network')
  })

  it('ends with an exception of onProgress', async () => {
    hub.files.set('m.gguf', randomBytes(1000))
    const mine = new RangeError('mine')
    const onProgress = () => {
      throw mine
    }
    await expect(pull('hf:owner/repo', { onProgress })).rejects.toBe(mine)
  })

  it('ends with one that comes in the middle of a file', async () => {
    hub.files.set('m.gguf', randomBytes(300_000))
    const mine = new RangeError('mine')
    const onProgress = ({ loadedBytes }: { loadedBytes: number }) => {
      if (loadedBytes > 0) throw mine
    }
    await expect(pull('hf:owner/repo', { onProgress })).rejects.toBe(mine)
    await expect(pull('hf:owner/repo')).resolves.toBe(join(cacheFolder, 'owner/repo/m.gguf'))
  })

  it('may fetch one file several times at once', async () => {
    const bytes = randomBytes(2_000_000)
    hub.files.set('m.gguf', bytes)
    const paths = await Promise.all([1, 2, 3].map(() => pull('hf:owner/repo')))
    for (const path of paths) expect(readFileSync(path).equals(bytes)).toBe(true)
    expect(readdirSync(join(cacheFolder, 'owner/repo'))).toEqual(['m.gguf'])
  })

  it.each(['../../evil.gguf', '/evil.gguf', 'a//evil.gguf', '..\\evil.gguf'])(
    'refuses a hub that lists %s',
    async (path) => {
      hub.files.set(path, randomBytes(10))
      await expect(pull('hf:owner/repo')).rejects.toMatchObject({
        code: 'network',
        message: expect.stringContaining(JSON.stringify(path)),
      })
      expect(readdirSync(cacheFolder)).toEqual([])
    },
  )

  it('says io where the cache is no folder', async () => {
    hub.files.set('m.gguf', randomBytes(10))
    const file = join(cacheFolder, 'file')
    writeFileSync(file, '')
    expect(await codeOf(() => pull('hf:owner/repo', { cacheFolder: file }))).toBe('io')
    mkdirSync(join(cacheFolder, 'owner'))
    writeFileSync(join(cacheFolder, 'owner/repo'), '')
    expect(await codeOf(() => Model.open('hf:owner/repo'))).toBe('io')
  })

  it.skipIf(!hasShared)('serves the command line and Model.open', async () => {
    expect(await codeOf(() => Model.open('hf:owner/repo'))).toBe('unsupported')
    hub.files.set('story.gguf', readFileSync(storyPath))
    const { code, stdout } = await millrace(['pull', 'hf:owner/repo'])
    expect(code).toBe(0)
    expect(existsSync(stdout.trim())).toBe(true)
    await using model = await Model.open('hf:owner/repo')
    expect(model.info.name).toBe('stories260K')
  })
})
