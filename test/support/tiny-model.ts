// A whole llama model of a few hundred kilobytes with random weights and a SentencePiece-style
// vocabulary of byte tokens, for tests that need a file they may damage.
import {
  type ElementType,
  type Entry,
  ggufBytes,
  type TensorInfo,
} from '../../bench/gguf-writer.js'
import { sampleData } from './gguf-samples.js'

const control = 3
const byte = 6
const normal = 1
const unknown = 2

const shape = { dim: 64, hidden: 128, layers: 2, heads: 4, kvHeads: 2, headDim: 16 }

const byteToken = (value: number): string =>
  `<0x${value.toString(16).toUpperCase().padStart(2, '0')}>`

const letters = Array.from('▁abcdefghijklmnopqrstuvwxyz')
const tokens = [
  '<unk>',
  '<s>',
  '</s>',
  ...Array.from({ length: 256 }, (_, i) => byteToken(i)),
  ...letters,
  '▁a',
  '▁t',
]

const kindOf = (index: number): number => {
  if (index === 0) return unknown
  if (index < 3) return control
  return index < 259 ? byte : normal
}

const u32 = (key: string, value: number): Entry => ({ key, value: { type: 'u32', value } })
const f32 = (key: string, value: number): Entry => ({ key, value: { type: 'f32', value } })

/** Keys of the architecture, then of the tokenizer. */
export const tinyEntries: readonly Entry[] = [
  { key: 'general.architecture', value: { type: 'string', value: 'llama' } },
  u32('llama.block_count', shape.layers),
  u32('llama.context_length', 256),
  u32('llama.embedding_length', shape.dim),
  u32('llama.feed_forward_length', shape.hidden),
  u32('llama.attention.head_count', shape.heads),
  u32('llama.attention.head_count_kv', shape.kvHeads),
  u32('llama.rope.dimension_count', shape.headDim),
  f32('llama.rope.freq_base', 10000),
  f32('llama.attention.layer_norm_rms_epsilon', 1e-5),
  { key: 'tokenizer.ggml.model', value: { type: 'string', value: 'llama' } },
  u32('tokenizer.ggml.bos_token_id', 1),
  u32('tokenizer.ggml.eos_token_id', 2),
  u32('tokenizer.ggml.unknown_token_id', 0),
  { key: 'tokenizer.ggml.tokens', value: { type: 'array', of: 'string', values: tokens } },
  {
    key: 'tokenizer.ggml.scores',
    value: { type: 'array', of: 'f32', values: tokens.map((_, i) => -i) },
  },
  {
    key: 'tokenizer.ggml.token_type',
    value: { type: 'array', of: 'i32', values: tokens.map((_, i) => kindOf(i)) },
  },
]

const matrix = (name: string, cols: number, rows: number, type: ElementType): TensorInfo => ({
  name: `${name}.weight`,
  type,
  shape: [cols, rows],
})
const norm = (name: string): TensorInfo => ({
  name: `${name}.weight`,
  type: 'F32',
  shape: [shape.dim],
})

const layerTensors = (layer: number): TensorInfo[] => {
  const { dim, hidden } = shape
  const qDim = shape.heads * shape.headDim
  const kvDim = shape.kvHeads * shape.headDim
  const at = (name: string) => `blk.${layer}.${name}`
  return [
    norm(at('attn_norm')),
    matrix(at('attn_q'), dim, qDim, 'Q8_0'),
    matrix(at('attn_k'), dim, kvDim, 'Q4_0'),
    matrix(at('attn_v'), dim, kvDim, 'Q5_1'),
    matrix(at('attn_output'), qDim, dim, 'F16'),
    norm(at('ffn_norm')),
    matrix(at('ffn_gate'), dim, hidden, 'BF16'),
    matrix(at('ffn_up'), dim, hidden, 'F32'),
    matrix(at('ffn_down'), hidden, dim, 'IQ4_NL'),
  ]
}

export const tinyTensors: readonly TensorInfo[] = [
  matrix('token_embd', shape.dim, tokens.length, 'Q8_0'),
  norm('output_norm'),
  ...Array.from({ length: shape.layers }, (_, layer) => layerTensors(layer)).flat(),
]

export const tinyModel = (): Buffer =>
  ggufBytes({ entries: tinyEntries, tensors: tinyTensors }, sampleData(tinyTensors))
