// The reader's probe, and the errors it is expected to give.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { probe } from './probe.js'

export type EntryShown = [key: string, type: string, value: bigint | number | boolean | Buffer]

export interface TensorShown {
  name: string
  type: string
  shape: number[]
  size: number
  offset?: number
}

export interface FileShown {
  entries: EntryShown[]
  tensors: TensorShown[]
}

export const reader = probe<{
  parseGguf(bytes: Uint8Array, vocabularyOnly: boolean): FileShown
  openModelFile(
    path: string,
    mapped: boolean,
    vocabularyOnly: boolean,
  ): FileShown & { checksum: number; sizeBytes: number }
  /** Stops at that look at whether to go on, from 0 on. */
  openUntil(
    path: string,
    mapped: boolean,
    looks: number,
  ): { code: string; message: string; progress: Float32Array }
  getMetadata(bytes: Uint8Array, getter: string, key: string): unknown
  failFilesWith(fault: 'none' | 'open' | 'map' | 'read' | 'shortRead' | 'memory'): void
}>()

/** What a coded error has, for `toThrow`. */
export const coded = (code: string, ...words: string[]) => ({
  asymmetricMatch: (error: Error & { code?: string }) =>
    error.code === code && words.every((word) => error.message.includes(word)),
  toString: () => `an error with code ${code} that mentions ${words.join(', ')}`,
})

/** Runs with an empty folder that is gone afterwards. */
export const withFolder = <T>(
  use: (write: (name: string, bytes: Uint8Array | string) => string) => T,
): T => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-files-'))
  try {
    return use((name, bytes) => {
      const path = join(folder, name)
      writeFileSync(path, bytes)
      return path
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
