// A whole model small enough for thousands of requests, with its own vocabulary: nothing outside the
// repository is needed. Random weights; the same options give the same file.
import {
  type ElementType,
  type Entry,
  headerBytes,
  type MetadataValue,
  padded,
  tensorBytes,
} from '../../bench/gguf-writer.js'
import { planTensors, type Shape } from '../../bench/model-shapes.js'
import { randomBlocks } from '../../bench/random-blocks.js'
import { keptPath } from './shared.js'

export interface SmallModelOptions {
  architecture?: 'llama' | 'qwen2' | 'qwen3'
  type?: ElementType
  context?: number
  layers?: number
  seed?: number
}

/** Control tokens, every byte, then pairs of letters. */
export const smallVocabulary = 512
export const smallEos = 2
const firstPair = 3 + 256
const pairs = Array.from({ length: smallVocabulary - firstPair }, (_, i) => {
  const letters = 'etaoinshrdlucmfw'
  return (letters[i >> 4] ?? '') + (letters[i & 15] ?? '')
})
const texts = [
  '<unk>',
  '<s>',
  '</s>',
  ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
  ...pairs,
]
// Kinds as GGUF numbers them: 1 normal, 2 unknown, 3 control, 6 byte.
const kinds = texts.map((_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < firstPair ? 6 : 1))

const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
const f32 = (value: number): MetadataValue => ({ type: 'f32', value })
const text = (value: string): MetadataValue => ({ type: 'string', value })

function entriesOf(shape: Shape): Entry[] {
  const arch = shape.architecture
  const values: Record<string, MetadataValue> = {
    'general.architecture': text(arch),
    'general.name': text('tiny'),
    [`${arch}.block_count`]: u32(shape.layers),
    [`${arch}.context_length`]: u32(shape.context),
    [`${arch}.embedding_length`]: u32(shape.dim),
    [`${arch}.feed_forward_length`]: u32(shape.hiddenDim),
    [`${arch}.attention.head_count`]: u32(shape.heads),
    [`${arch}.attention.head_count_kv`]: u32(shape.kvHeads),
    [`${arch}.attention.key_length`]: u32(shape.headDim),
    [`${arch}.attention.value_length`]: u32(shape.headDim),
    [`${arch}.attention.layer_norm_rms_epsilon`]: f32(shape.epsilon),
    [`${arch}.rope.freq_base`]: f32(shape.ropeBase),
    [`${arch}.rope.dimension_count`]: u32(shape.headDim),
    [`${arch}.vocab_size`]: u32(shape.vocabulary),
    'tokenizer.ggml.model': text('llama'),
    'tokenizer.ggml.tokens': { type: 'array', of: 'string', values: texts },
    'tokenizer.ggml.scores': { type: 'array', of: 'f32', values: texts.map((_, i) => -i) },
    'tokenizer.ggml.token_type': { type: 'array', of: 'i32', values: kinds },
    'tokenizer.ggml.bos_token_id': u32(1),
    'tokenizer.ggml.eos_token_id': u32(smallEos),
    'tokenizer.ggml.unknown_token_id': u32(0),
    'tokenizer.ggml.add_bos_token': { type: 'bool', value: true },
  }
  return Object.entries(values).map(([key, value]) => ({ key, value }))
}

/** The path of the model's file, written once per content. */
export function writeSmallModel(options: SmallModelOptions = {}): string {
  const shape: Shape = {
    architecture: options.architecture ?? 'llama',
    layers: options.layers ?? 2,
    dim: 64,
    heads: 4,
    kvHeads: 2,
    headDim: 32,
    hiddenDim: 96,
    vocabulary: smallVocabulary,
    context: options.context ?? 1024,
    ropeBase: 1e4,
    epsilon: 1e-5,
    tied: false,
  }
  const type = options.type ?? 'F32'
  const tensors = planTensors(shape).map((tensor) => ({
    ...tensor,
    type: tensor.shape.length === 1 ? ('F32' as const) : type,
  }))
  const data = tensors.flatMap((tensor, stream) => {
    const length = tensorBytes(tensor)
    const [cols = 1] = tensor.shape
    // Logits three times as wide as the norm leaves them, so that some tokens are likely.
    const deviation = (tensor.name === 'output.weight' ? 3 : 1) / Math.sqrt(cols)
    const bytes = tensor.name.endsWith('norm.weight')
      ? Buffer.from(new Float32Array(length / 4).fill(1).buffer)
      : randomBlocks(tensor.type, length, deviation, { seed: options.seed ?? 1, stream })
    return [bytes, Buffer.alloc(padded(length) - length)]
  })
  const file = Buffer.concat([headerBytes({ entries: entriesOf(shape), tensors }), ...data])
  return keptPath(`${shape.architecture}-${type}.gguf`, file)
}
