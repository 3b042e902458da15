// The WebAssembly tokenizer of the tiktoken package on the Qwen vocabulary, for the tokenize case.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { gunzipSync } from 'node:zlib'
import type { OpenOptions, Runtime } from '../driver.js'
import { readEntries } from '../gguf-reader.js'
import { type Peer, peerEntry } from '../install.js'

interface Encoder {
  encode(text: string, allowed: string[], disallowed: string[]): Uint32Array
  free(): void
}

interface TiktokenPackage {
  Tiktoken: new (ranks: string, special: Record<string, number>, pattern: string) => Encoder
}

export const peer: Peer = { name: 'tiktoken', version: '1.0.22', entry: 'tiktoken.cjs' }

// Qwen's published splitting pattern.
const pattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" +
  '| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'

const isPrintable = (byte: number): boolean =>
  (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174

// Byte-level vocabularies write printable bytes as themselves and the others from U+0100 on.
const byteAlphabet = (): Map<string, number> => {
  const alphabet = new Map<string, number>()
  let next = 256
  for (let byte = 0; byte < 256; byte++) {
    alphabet.set(String.fromCodePoint(isPrintable(byte) ? byte : next++), byte)
  }
  return alphabet
}

const normalToken = 1

const ranks = (file: string): string => {
  const bytes = readFileSync(file)
  const entries = readEntries(file.endsWith('.gz') ? gunzipSync(bytes) : bytes)
  const values = (key: string): unknown[] => {
    const value = entries.find((entry) => entry.key === key)?.value
    if (value?.type !== 'array') throw new Error(`Expected "${file}" to hold the list ${key}`)
    return [...value.values]
  }
  const types = values('tokenizer.ggml.token_type')
  const alphabet = byteAlphabet()
  const lines: string[] = []
  values('tokenizer.ggml.tokens').forEach((token, id) => {
    if (types[id] !== normalToken) return
    const spelled = [...String(token)].map((letter) => alphabet.get(letter))
    if (spelled.includes(undefined)) return
    lines.push(`${Buffer.from(spelled as number[]).toString('base64')} ${id}`)
  })
  return lines.join('\n')
}

const refuse = (): never => {
  throw new Error('Expected a tokenize case: tiktoken does not generate')
}

export const open = async (options: OpenOptions): Promise<Runtime> => {
  const require = createRequire(import.meta.url)
  const { Tiktoken }: TiktokenPackage = require(new URL(peerEntry(peer)).pathname)
  const encoder = new Tiktoken(ranks(options.file), {}, pattern)
  return {
    version: peer.version,
    detail: 'wasm',
    generate: refuse,
    parallel: refuse,
    tokenize: (text) => encoder.encode(text, [], []),
    steps: () => undefined,
    close: async () => encoder.free(),
  }
}
