// What Brook is: sizes, and the metadata of its file.

import { readFileSync } from 'node:fs'
import type { Entry, MetadataValue } from '../../bench/gguf-writer.js'
import { specialTokens, type Vocabulary } from './tokenizer.js'

/** The Llama architecture; every row is whole blocks of 256, so that each quantization fits. */
export const shape = {
  architecture: 'llama',
  layers: 6,
  dim: 256,
  heads: 4,
  kvHeads: 2,
  headDim: 64,
  hiddenDim: 768,
  vocabulary: 4096,
  context: 1024,
  ropeBase: 10_000,
  epsilon: 1e-5,
  tied: true,
} as const

/** The seed of the corpus. */
export const seed = 'brook 1'

export const chatTemplate = readFileSync(
  new URL('template.jinja', import.meta.url),
  'utf8',
).trimEnd()

const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
const f32 = (value: number): MetadataValue => ({ type: 'f32', value })
const text = (value: string): MetadataValue => ({ type: 'string', value })
const texts = (values: string[]): MetadataValue => ({ type: 'array', of: 'string', values })

// Kinds as GGUF numbers them: 1 normal, 3 control (never shown), 4 user defined (shown).
const kindOf = (token: string): number => {
  if (!specialTokens.some((special) => special === token)) return 1
  return token.startsWith('<|') ? 3 : 4
}

/** The metadata of the file; `fileType` as GGUF numbers the mix of element types. */
export function entriesOf({ tokens, merges }: Vocabulary, fileType: number): Entry[] {
  const id = (token: (typeof specialTokens)[number]): MetadataValue => u32(tokens.indexOf(token))
  const values: Record<string, MetadataValue> = {
    'general.architecture': text(shape.architecture),
    'general.name': text('Brook'),
    'general.license': text('mit'),
    'general.file_type': u32(fileType),
    'general.quantization_version': u32(2),
    'llama.block_count': u32(shape.layers),
    'llama.context_length': u32(shape.context),
    'llama.embedding_length': u32(shape.dim),
    'llama.feed_forward_length': u32(shape.hiddenDim),
    'llama.attention.head_count': u32(shape.heads),
    'llama.attention.head_count_kv': u32(shape.kvHeads),
    'llama.attention.key_length': u32(shape.headDim),
    'llama.attention.value_length': u32(shape.headDim),
    'llama.attention.layer_norm_rms_epsilon': f32(shape.epsilon),
    'llama.rope.freq_base': f32(shape.ropeBase),
    'llama.rope.dimension_count': u32(shape.headDim),
    'llama.vocab_size': u32(shape.vocabulary),
    'tokenizer.ggml.model': text('gpt2'),
    'tokenizer.ggml.pre': text('qwen2'),
    'tokenizer.ggml.tokens': texts(tokens),
    'tokenizer.ggml.token_type': { type: 'array', of: 'i32', values: tokens.map(kindOf) },
    'tokenizer.ggml.merges': texts(merges),
    'tokenizer.ggml.eos_token_id': id('<|im_end|>'),
    'tokenizer.ggml.eot_token_id': id('<|endoftext|>'),
    'tokenizer.ggml.padding_token_id': id('<|endoftext|>'),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: false },
    'tokenizer.chat_template': text(chatTemplate),
  }
  return Object.entries(values).map(([key, value]) => ({ key, value }))
}
