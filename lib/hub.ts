// Names a model on a hub, finds its files in the local cache, fetches what is missing. Knows files
// only. HF_ENDPOINT names another hub, HF_TOKEN an account, MILLRACE_CACHE another folder.

import { createHash } from 'node:crypto'
import {
  closeSync,
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join, relative, sep } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { MillraceError } from './errors.js'
import { aFunction, aSignal, aString, checkOptions, invalid } from './options.js'

/** How to fetch a model. */
export interface PullOptions {
  /** Told the bytes there are and the bytes there will be, of all files. Its exceptions end the pull. */
  onProgress?: (progress: { loadedBytes: number; totalBytes: number; file: string }) => void
  /** Ends the download; what came is kept, and the next pull goes on from there. */
  signal?: AbortSignal
  /** Default: the environment's MILLRACE_CACHE, else `~/.cache/millrace/models`. */
  cacheFolder?: string
}

interface Source {
  repo: string
  wanted: string | undefined // a file, or a quantization such as Q4_K_M
}

interface RemoteFile {
  path: string
  size: number
  sha256: string | undefined
}

const endpoint = () => (process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '')

const defaultFolder = () =>
  process.env.MILLRACE_CACHE ?? join(homedir(), '.cache', 'millrace', 'models')

/** `hf:owner/repo[:file-or-quantization]`. No part may leave the cache's folder. */
export function parseSource(source: string): Source {
  const [, owner, name, wanted] = /^hf:([\w.-]+)\/([\w.-]+)(?::(.+))?$/.exec(source) ?? []
  const parts = [owner, name, ...(wanted ?? '').split('/')]
  if (owner === undefined || parts.some((part) => part === '.' || part === '..')) {
    throw invalid('source', 'hf:owner/repo or hf:owner/repo:file-or-quantization', source)
  }
  return { repo: `${owner}/${name}`, wanted }
}

const splitName = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/

/** All parts of the set that a file belongs to, in order; of a whole file, itself. */
function partsOf(path: string): string[] {
  const [, stem, , count] = splitName.exec(path) ?? []
  if (stem === undefined || count === undefined) return [path]
  const number = (i: number) => String(i + 1).padStart(5, '0')
  return Array.from({ length: Number(count) }, (_, i) => `${stem}-${number(i)}-of-${count}.gguf`)
}

const isFirst = (path: string) =>
  path.endsWith('.gguf') && (splitName.exec(path)?.[2] ?? '00001') === '00001'

const named = (path: string, quantization: string) =>
  path.toLowerCase().split(/[/.-]/).includes(quantization.toLowerCase())

/** The file that is meant: the named one, the one of that quantization, or the usual choice. */
export function chooseFile(paths: string[], wanted: string | undefined): string | undefined {
  const models = paths.filter(isFirst).sort((a, b) => a.length - b.length || (a < b ? -1 : 1))
  if (wanted === undefined) {
    if (models.length === 1) return models[0]
    const usual = ['Q4_K_M', 'Q4_0', 'Q8_0', 'F16']
    return usual.map((type) => models.find((path) => named(path, type))).find(Boolean)
  }
  if (wanted.endsWith('.gguf')) {
    const [first = wanted] = partsOf(wanted)
    return paths.includes(wanted) && paths.includes(first) ? first : undefined
  }
  return models.find((path) => named(path, wanted))
}

function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return []
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
  } catch (error) {
    const { message } = error as Error
    throw new MillraceError('io', `cannot read the cache of models: ${message}`, { cause: error })
  }
}

/** The first file of a downloaded model; undefined when it, or a part of it, is not there. */
export function findCached(source: string, cacheFolder = defaultFolder()): string | undefined {
  const { repo, wanted } = parseSource(source)
  const folder = join(cacheFolder, repo)
  const files = filesUnder(folder)
  const complete = files.filter((path) => partsOf(path).every((part) => files.includes(part)))
  const chosen = chooseFile(complete, wanted)
  return chosen === undefined ? undefined : join(folder, chosen)
}

// What only a call of the file system says; "read" and "write" are those of connections, too.
const fileCodes = /^(ENOSPC|EACCES|EROFS|EDQUOT|EPERM|EIO|EFBIG|EMFILE|ENFILE)$/
const fileCalls = /^(open|mkdir|rename|l?stat|unlink|rm|rmdir|scandir|ftruncate)$/

/** Any failure of a download as one of our codes. */
function networkError(what: string, error: unknown, signal?: AbortSignal): unknown {
  if (error instanceof MillraceError) return error
  if (signal?.aborted) {
    return new MillraceError('aborted', `${what} was aborted`, { cause: signal.reason })
  }
  const { statusCode, message, code, syscall } = error as {
    statusCode?: number
    message?: string
    code?: string
    syscall?: string
  }
  if (statusCode === 404 || statusCode === 401 || statusCode === 403) {
    return new MillraceError('not-found', `${what}: the hub answered ${statusCode}`, {
      cause: error,
    })
  }
  const isLocal = fileCodes.test(code ?? '') || fileCalls.test(syscall ?? '')
  return new MillraceError(isLocal ? 'io' : 'network', `${what}: ${message ?? error}`, {
    cause: error,
  })
}

const credentials = () => {
  const accessToken = process.env.HF_TOKEN
  return accessToken === undefined || accessToken === '' ? {} : { accessToken }
}

function fetchWith(signal: AbortSignal | undefined): typeof fetch {
  return (input, init) => fetch(input, signal === undefined ? init : { ...init, signal })
}

/** Whether a name of the hub's stays below the folder that it is joined to. */
const staysBelow = (path: string): boolean =>
  path.split('/').every((part) => !['', '.', '..'].includes(part)) && !/[\\:\0]/.test(path)

async function listRemote(repo: string, signal: AbortSignal | undefined): Promise<RemoteFile[]> {
  const { listFiles } = await import('@huggingface/hub')
  const files: RemoteFile[] = []
  const options = { repo, recursive: true, hubUrl: endpoint(), fetch: fetchWith(signal) }
  for await (const entry of listFiles({ ...options, ...credentials() })) {
    if (entry.type !== 'file') continue
    if (!staysBelow(entry.path)) {
      const path = JSON.stringify(entry.path)
      throw new MillraceError(
        'network',
        `Expected paths inside of ${repo} but the hub lists ${path}`,
      )
    }
    files.push({ path: entry.path, size: entry.size, sha256: entry.lfs?.oid })
  }
  return files
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

interface Download {
  repo: string
  file: RemoteFile
  path: string // where it shall lie
  onBytes: (loaded: number) => void
  signal: AbortSignal | undefined
}

/**
 * Fetches one file, going on from an earlier attempt of the same content. Several at once, of this
 * program or others, write the same bytes at the same places; the first to end names the file.
 */
async function fetchFile({ repo, file, path, onBytes, signal }: Download): Promise<void> {
  const { downloadFile } = await import('@huggingface/hub')
  mkdirSync(dirname(path), { recursive: true })
  // The content's name is part of the partial file's: another version never continues it.
  const part = `${path}.${(file.sha256 ?? `size-${file.size}`).slice(0, 16)}.part`
  let loaded = existsSync(part) ? statSync(part).size : 0
  if (loaded > file.size) {
    rmSync(part)
    loaded = 0
  }
  onBytes(loaded)
  if (loaded < file.size || file.size === 0) {
    const options = { repo, path: file.path, hubUrl: endpoint(), fetch: fetchWith(signal) }
    const blob = await downloadFile({ ...options, ...credentials() })
    if (blob === null) throw new MillraceError('not-found', `hf:${repo} has no ${file.path}`)
    const counter = new Transform({
      transform(chunk: Buffer, _, done) {
        loaded += chunk.length
        try {
          onBytes(loaded)
          done(null, chunk)
        } catch (error) {
          done(error as Error) // what a stream's method throws would end the program
        }
      },
    })
    closeSync(openSync(part, 'a')) // there from now on, and nobody else's bytes are lost
    loaded = Math.min(loaded, statSync(part).size) // somebody else may have named it meanwhile
    const body = Readable.fromWeb(blob.slice(loaded, file.size).stream() as ReadableStream)
    const writer = createWriteStream(part, { flags: 'r+', start: loaded })
    await pipeline(body, counter, writer, { signal })
  }
  try {
    await nameWhole(part, path, file)
  } catch (error) {
    if (!isThere(path, file)) throw error // else somebody else was faster
  }
}

const isThere = (path: string, { size }: RemoteFile): boolean =>
  existsSync(path) && statSync(path).size === size

/** Checks what came and gives it its name. */
async function nameWhole(part: string, path: string, file: RemoteFile): Promise<void> {
  if (statSync(part).size !== file.size) {
    throw new MillraceError(
      'network',
      `Expected ${file.path} to have ${file.size} bytes but received ${statSync(part).size}`,
    )
  }
  if (file.sha256 !== undefined && (await digestOf(part)) !== file.sha256) {
    rmSync(part)
    throw new MillraceError('network', `${file.path} came with another SHA-256 than the hub names`)
  }
  renameSync(part, path)
}

/**
 * Fetches `hf:owner/repo[:file-or-quantization]` into the local cache, all parts of a split file, and
 * gives the path of the (first) file. A download that was interrupted goes on where it stopped; what
 * is there already is not fetched again.
 *
 * @throws TypeError when the source is no such name
 * @throws MillraceError `not-found`, `network`, `io`, `aborted`
 */
export async function pull(source: string, options?: PullOptions): Promise<string> {
  const {
    onProgress,
    signal,
    cacheFolder = defaultFolder(),
  } = checkOptions('pull', options, {
    onProgress: aFunction,
    signal: aSignal,
    cacheFolder: aString,
  })
  const { repo, wanted } = parseSource(source)
  let thrown: { error: unknown } | undefined // by onProgress
  try {
    signal?.throwIfAborted()
    const remote = await listRemote(repo, signal)
    const chosen = chooseFile(
      remote.map((file) => file.path),
      wanted,
    )
    if (chosen === undefined) throw unknownFile(source, remote)
    const files = partsOf(chosen).map((path) => {
      const file = remote.find((one) => one.path === path)
      if (file === undefined) throw new MillraceError('not-found', `hf:${repo} has no ${path}`)
      return file
    })
    const totalBytes = files.reduce((sum, file) => sum + file.size, 0)
    let before = 0
    for (const file of files) {
      const path = join(cacheFolder, repo, ...file.path.split('/'))
      const onBytes = (loaded: number) => {
        try {
          onProgress?.({ loadedBytes: before + loaded, totalBytes, file: file.path })
        } catch (error) {
          thrown = { error }
          throw error
        }
      }
      if (isThere(path, file)) onBytes(file.size)
      else await fetchFile({ repo, file, path, onBytes, signal })
      before += file.size
    }
    return join(cacheFolder, repo, ...chosen.split('/'))
  } catch (error) {
    throw thrown === undefined ? networkError(`pull ${source}`, error, signal) : thrown.error
  }
}

function unknownFile(source: string, remote: RemoteFile[]): MillraceError {
  const models = remote.map((file) => file.path).filter(isFirst)
  const known = models.length === 0 ? 'it has no .gguf file' : `it has ${models.join(', ')}`
  return new MillraceError('not-found', `Expected a file of ${source} to choose, but ${known}`)
}
