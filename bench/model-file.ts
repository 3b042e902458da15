// The file a case runs on: made once from a named shape, kept outside the repository
// ($MILLRACE_BENCH_MODELS, or the bench's cache); and the work that one token of it is.
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import type { Case } from './case.js'
import { tensorBytes } from './gguf-writer.js'
import { cacheFolder } from './install.js'
import { makeModel } from './make-model.js'
import { elementTypeOf, fileTypes, type Mix, planTensors, shapes } from './model-shapes.js'
import type { Work } from './results.js'
import { sharedFolder } from './text.js'

// The tiny shape gets a tiny vocabulary, so that its steps are short.
const tinyVocabulary = 512

const tokenizers: Record<string, string> = {
  'tiny-test': 'golden/real/stories260K.F32.gguf.gz',
  'tinyllama-1.1b': 'golden/tokenizer/llama-spm.vocab.gguf.gz',
}
const qwenVocabulary = 'golden/tokenizer/qwen2.vocab.gguf.gz'

/** Tokens a case's model knows. */
export const vocabulary = (row: Case): number =>
  row.shape === 'tiny-test' ? tinyVocabulary : (shapes[row.shape]?.vocabulary ?? 0)

const isMix = (name: string): name is Mix => Object.hasOwn(fileTypes, name)

// Of every clone: its tokens are fewer, and the shape's others are padding.
const builtIn = fileURLToPath(new URL('../models/brook/brook.gguf', import.meta.url))

const tokenizerFile = ({ shape, kind }: Case): string => {
  const shared = sharedFolder()
  const file = join(shared ?? '', tokenizers[shape] ?? qwenVocabulary)
  if (shared && existsSync(file)) return file
  if (kind !== 'tokenize' && shape !== 'tiny-test') return builtIn
  throw new Error(`Expected a tokenizer for ${shape} in $MILLRACE_SHARED but found none`)
}

const writeModel = (row: Case, out: string): void => {
  if (row.kind === 'tokenize') {
    writeFileSync(out, gunzipSync(readFileSync(tokenizerFile(row))))
    return
  }
  if (!isMix(row.type)) throw new Error(`Expected a known type but received "${row.type}"`)
  const options = { shape: row.shape, type: row.type, tokenizer: tokenizerFile(row), out }
  makeModel(row.shape === 'tiny-test' ? { ...options, vocabulary: tinyVocabulary } : options)
}

/** The path of the case's file, written first if it is missing. */
export const modelFile = (row: Case): string => {
  const folder = process.env.MILLRACE_BENCH_MODELS ?? join(cacheFolder(), 'models')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, `${row.shape}-${row.type.toLowerCase()}.gguf`)
  if (!existsSync(file)) {
    console.error(`writing ${row.shape} ${row.type}`)
    writeModel(row, `${file}.part`)
    renameSync(`${file}.part`, file)
  }
  return file
}

/** Reads the file once, so that every driver finds it in the page cache. */
export const warmPages = (file: string): void => {
  const buffer = Buffer.alloc(1 << 22)
  const handle = openSync(file, 'r')
  try {
    while (readSync(handle, buffer) > 0);
  } finally {
    closeSync(handle)
  }
}

/** What one token of the case's model reads and computes. */
export const work = (row: Case): Work | undefined => {
  const named = shapes[row.shape]
  const mix = row.type
  if (!named || !isMix(mix)) return undefined
  const shape = { ...named, vocabulary: vocabulary(row) }
  const total: Work = { bytesPerToken: 0, layerOperations: 0, headOperations: 0 }
  for (const tensor of planTensors(shape)) {
    const isHead = tensor.name === (shape.tied ? 'token_embd.weight' : 'output.weight')
    if (tensor.layer < 0 && !isHead) continue
    const type = elementTypeOf(tensor, mix, shape)
    total.bytesPerToken += tensorBytes({ ...tensor, type })
    if (tensor.shape.length < 2) continue
    const operations = 2 * tensor.shape.reduce((product, extent) => product * extent, 1)
    if (isHead) total.headOperations += operations
    else total.layerOperations += operations
  }
  return total
}
