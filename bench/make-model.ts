// Writes a GGUF file of a named real shape with random weights, for measurements:
//   node --import tsx bench/make-model.ts --shape qwen3-0.6b --type Q4_0 --tokenizer vocab.gguf.gz --out model.gguf
// The tokenizer is copied from any GGUF file (gzipped or not); its vocabulary is padded to the shape's.
// Other engines load the same file. Random weights say nothing about quality.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { readEntries } from './gguf-reader.js'
import {
  type Entry,
  headerBytes,
  type MetadataValue,
  padded,
  type Scalar,
  type TensorInfo,
  tensorBytes,
} from './gguf-writer.js'
import {
  elementTypeOf,
  fileTypes,
  type Mix,
  planTensors,
  type Shape,
  shapes,
  type TensorPlan,
} from './model-shapes.js'
import { randomBlocks } from './random-blocks.js'

export interface ModelOptions {
  shape: string
  type: Mix
  tokenizer: string
  out: string
  seed?: number
  /** Fewer tokens than the shape's vocabulary, for tests. */
  vocabulary?: number
}

const chatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] " +
  "+ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}" +
  '{% endif %}'

const u32 = (value: number): MetadataValue => ({ type: 'u32', value })
const f32 = (value: number): MetadataValue => ({ type: 'f32', value })
const text = (value: string): MetadataValue => ({ type: 'string', value })

const shapeEntries = (name: string, mix: Mix, shape: Shape): Entry[] => {
  const arch = shape.architecture
  const values: Record<string, MetadataValue> = {
    'general.architecture': text(arch),
    'general.name': text(`${name} random weights`),
    'general.file_type': u32(fileTypes[mix]),
    'general.quantization_version': u32(2),
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
  }
  return Object.entries(values).map(([key, value]) => ({ key, value }))
}

const extended = (value: MetadataValue, length: number, filler: (i: number) => Scalar) => {
  if (value.type !== 'array') return value
  const more = Array.from({ length: length - value.values.length }, (_, i) =>
    filler(value.values.length + i),
  )
  return { ...value, values: [...value.values, ...more] }
}

const [normalToken, unusedToken] = [1, 5]

// Every tokenizer.* key, with the vocabulary padded by unused tokens; where most of it is padding by
// normal ones, for what has no text comes in no piece.
const tokenizerEntries = (path: string, vocabulary: number): Entry[] => {
  const bytes = readFileSync(path)
  const entries = readEntries(path.endsWith('.gz') ? gunzipSync(bytes) : bytes).filter(({ key }) =>
    key.startsWith('tokenizer.'),
  )
  const tokens = entries.find(({ key }) => key === 'tokenizer.ggml.tokens')?.value
  if (tokens?.type !== 'array') throw new Error(`Expected "${path}" to hold a tokenizer`)
  if (tokens.values.length > vocabulary) {
    throw new Error(`Expected at most ${vocabulary} tokens but received ${tokens.values.length}`)
  }
  const isMostlyPadding = tokens.values.length * 2 < vocabulary
  const fillers: Record<string, (i: number) => Scalar> = {
    'tokenizer.ggml.tokens': (i) => `[PAD${i}]`,
    'tokenizer.ggml.scores': () => -1e4,
    'tokenizer.ggml.token_type': () => (isMostlyPadding ? normalToken : unusedToken),
  }
  const padded = entries.map(({ key, value }) => {
    const filler = fillers[key]
    return { key, value: filler ? extended(value, vocabulary, filler) : value }
  })
  if (!entries.some(({ key }) => key === 'tokenizer.chat_template')) {
    padded.push({ key: 'tokenizer.chat_template', value: text(chatTemplate) })
  }
  return padded
}

// Llama 3.1: long wavelengths are slowed by the factor, short ones kept, a ramp between.
const ropeFactors = (shape: Shape, factor: number): Buffer => {
  const [lowest, highest, original] = [1, 4, 8192]
  const values = Array.from({ length: shape.headDim / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * shape.ropeBase ** ((2 * i) / shape.headDim)
    const turns = original / wavelength
    if (turns > highest) return 1
    if (turns < lowest) return factor
    const ramp = (turns - lowest) / (highest - lowest)
    return 1 / ((1 - ramp) / factor + ramp)
  })
  return Buffer.from(new Float32Array(values).buffer)
}

const tensorData = (
  tensor: TensorInfo & TensorPlan,
  shape: Shape,
  source: { seed: number; stream: number },
): Buffer => {
  const length = tensorBytes(tensor)
  if (tensor.name === 'rope_freqs.weight') return ropeFactors(shape, shape.ropeFactor ?? 1)
  if (tensor.name.endsWith('norm.weight')) {
    return Buffer.from(new Float32Array(length / 4).fill(1).buffer)
  }
  const [cols = 1] = tensor.shape
  const deviation = tensor.name.endsWith('.bias') ? 0.1 : 1 / Math.sqrt(cols)
  return randomBlocks(tensor.type, length, deviation, source)
}

/** Writes the file and returns its size in bytes. */
export const makeModel = (options: ModelOptions): number => {
  const named = shapes[options.shape]
  if (!named) {
    const known = Object.keys(shapes).join(', ')
    throw new Error(`Expected the shape to be one of ${known} but received "${options.shape}"`)
  }
  const shape = { ...named, vocabulary: options.vocabulary ?? named.vocabulary }
  const tensors = planTensors(shape).map((tensor) => ({
    ...tensor,
    type: elementTypeOf(tensor, options.type, shape),
  }))
  const entries = [
    ...shapeEntries(options.shape, options.type, shape),
    ...tokenizerEntries(options.tokenizer, shape.vocabulary),
  ]
  const file = openSync(options.out, 'w')
  try {
    let size = writeSync(file, headerBytes({ entries, tensors }))
    tensors.forEach((tensor, stream) => {
      const data = tensorData(tensor, shape, { seed: options.seed ?? 1, stream })
      size += writeSync(file, data)
      size += writeSync(file, Buffer.alloc(padded(data.length) - data.length))
    })
    return size
  } finally {
    closeSync(file)
  }
}

const isMix = (name: string): name is Mix => Object.hasOwn(fileTypes, name)

const main = (): void => {
  const { values } = parseArgs({
    options: {
      shape: { type: 'string' },
      type: { type: 'string', default: 'Q4_0' },
      tokenizer: { type: 'string' },
      out: { type: 'string' },
      seed: { type: 'string', default: '1' },
      vocabulary: { type: 'string' },
    },
  })
  const { shape, tokenizer, out, vocabulary } = values
  const type = values.type.toUpperCase()
  if (!shape || !tokenizer || !out || !isMix(type)) {
    console.error('Usage: make-model --shape <name> --type <type> --tokenizer <gguf> --out <file>')
    console.error(`Shapes: ${Object.keys(shapes).join(' ')}`)
    console.error(`Types: ${Object.keys(fileTypes).join(' ')}`)
    process.exit(2)
  }
  const size = makeModel({
    shape,
    type,
    tokenizer,
    out,
    seed: Number(values.seed),
    ...(vocabulary === undefined ? {} : { vocabulary: Number(vocabulary) }),
  })
  console.log(`${out}: ${(size / 1e6).toFixed(1)} MB`)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
