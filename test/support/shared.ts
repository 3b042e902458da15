// The reference data beside the project: where it is, and its gzipped files unpacked once.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { threadId } from 'node:worker_threads'
import { gunzipSync } from 'node:zlib'

const root = resolve(fileURLToPath(import.meta.url), '../../..')

/** The folder of reference data, or undefined when it is not there (tests then say "skipped"). */
export const sharedFolder: string | undefined = [
  process.env.MILLRACE_SHARED,
  resolve(root, '../shared'),
].find((path) => path !== undefined && existsSync(join(path, 'golden/MANIFEST.json')))

export const hasShared = sharedFolder !== undefined

export function sharedPath(name: string): string {
  return join(sharedFolder ?? 'shared', name)
}

export function sharedBytes(name: string): Buffer {
  const bytes = readFileSync(sharedPath(name))
  return name.endsWith('.gz') ? gunzipSync(bytes) : bytes
}

export function sharedJson<T>(name: string): T {
  return JSON.parse(sharedBytes(name).toString('utf8')) as T
}

/** A gzipped file of the reference data as a plain one, unpacked once per content. */
export function unpackedPath(name: string): string {
  return keptPath(basename(name).replace(/\.gz$/, ''), sharedBytes(name))
}

/** A file of that name with these bytes, among the temporary files, written once per content. */
export function keptPath(name: string, bytes: Buffer): string {
  const folder = join(tmpdir(), 'millrace-test', createHash('sha256').update(bytes).digest('hex'))
  const path = join(folder, name)
  if (!existsSync(path)) {
    mkdirSync(folder, { recursive: true })
    const unfinished = `${path}.${process.pid}.${threadId}`
    writeFileSync(unfinished, bytes)
    renameSync(unfinished, path)
  }
  return path
}
