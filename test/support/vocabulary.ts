// Tokenizers of the probe, made from the metadata of a GGUF file or from a few texts.

import { type GgufStrings, type GgufValue, readGgufMetadata } from './gguf.js'
import { probe } from './probe.js'

declare const tokenizerBrand: unique symbol
/** A native tokenizer behind an external pointer. */
export type TokenizerHandle = { readonly [tokenizerBrand]: true }

export interface VocabularyInput {
  algorithm: 'spm' | 'bpe' | 'wordpiece'
  pre?: string
  modelName?: string
  architecture?: string
  texts: GgufStrings
  merges?: GgufStrings
  scores?: Float32Array
  kinds?: Int32Array
  bos?: number
  eos?: number
  eot?: number
  unk?: number
  sep?: number
  addBos?: boolean
  addEos?: boolean
  addSpacePrefix?: boolean
  lowercase?: boolean
  stripAccents?: boolean
}

export interface StreamPiece {
  bytes: Uint8Array
  units: number
  stopped: boolean
}

export interface CreatedTokenizer {
  handle: TokenizerHandle
  ms: number
  size: number
  bos: number
  ends: Int32Array
}

export interface TextProbe {
  tokenizerCreate(vocabulary: VocabularyInput): CreatedTokenizer
  tokenizerOpen(path: string): CreatedTokenizer
  tokenizerEncode(
    handle: TokenizerHandle,
    bytes: Uint8Array,
    addSpecial: boolean,
    parseSpecial: boolean,
  ): Int32Array
  tokenizerTime(handle: TokenizerHandle, bytes: Uint8Array): { ms: number; tokens: number }
  tokenizerDecode(
    handle: TokenizerHandle,
    ids: Int32Array,
    special: boolean,
    cleanSpaces: boolean,
  ): Uint8Array
  tokenizerPiece(handle: TokenizerHandle, id: number): Uint8Array
  streamText(
    handle: TokenizerHandle,
    ids: Int32Array,
    stops: GgufStrings,
    special: boolean,
    atTextStart: boolean,
  ): StreamPiece[]
  preTokenizerNames(): string[]
  preTokenizerSplit(name: string, bytes: Uint8Array): { ms: number; ends: Int32Array }
  preTokenizerPasses(name: string): { pattern: string; kind: number }[]
  patternMatches(pattern: string, bytes: Uint8Array): Int32Array
  codepointProperties(codepoint: number): Int32Array
  validUtf8(bytes: Uint8Array): boolean
}

export const textProbe: TextProbe = probe<TextProbe>()

/** Strings, or bytes, laid end to end as the probe takes them. */
export function packStrings(texts: readonly (string | Uint8Array)[]): GgufStrings {
  const parts = texts.map((text) => Buffer.from(text as string))
  const ends = new Int32Array(parts.length)
  let end = 0
  for (const [i, part] of parts.entries()) {
    end += part.length
    ends[i] = end
  }
  return { bytes: Buffer.concat(parts), ends }
}

const algorithms: Record<string, VocabularyInput['algorithm']> = {
  llama: 'spm',
  gpt2: 'bpe',
  bert: 'wordpiece',
}

/** What a GGUF file says about its vocabulary, in the probe's form. */
export function vocabularyOf(bytes: Buffer): VocabularyInput {
  const metadata = readGgufMetadata(bytes)
  const get = <T extends GgufValue>(key: string): T | undefined =>
    metadata.get(`tokenizer.ggml.${key}`) as T | undefined
  const name = get<string>('model') ?? ''
  const algorithm = algorithms[name]
  if (!algorithm) throw new Error(`Expected a known tokenizer model but found "${name}"`)
  const texts = get<GgufStrings>('tokens')
  if (!texts) throw new Error('Expected tokenizer.ggml.tokens')
  const numbers = (key: string) => get<number[]>(key)
  const [scores, kinds] = [numbers('scores'), numbers('token_type')]
  const optional: Record<string, GgufValue | undefined> = {
    pre: get('pre'),
    modelName: metadata.get('general.name'),
    architecture: metadata.get('general.architecture'),
    bos: get('bos_token_id'),
    eos: get('eos_token_id'),
    eot: get('eot_token_id'),
    unk: get('unknown_token_id'),
    sep: get('seperator_token_id'),
    addBos: get('add_bos_token'),
    addEos: get('add_eos_token'),
    addSpacePrefix: get('add_space_prefix'),
    lowercase: get('normalizer.lowercase'),
    stripAccents: get('normalizer.strip_accents'),
  }
  const merges = get<GgufStrings>('merges')
  return {
    algorithm,
    texts,
    ...(merges && { merges }),
    ...(scores && { scores: Float32Array.from(scores) }),
    ...(kinds && { kinds: Int32Array.from(kinds) }),
    ...(optional as Partial<VocabularyInput>),
  }
}
