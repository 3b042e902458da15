// `millrace inspect <model>`: what it is, and what memory it needs, before loading it.

import type { Command } from 'commander'
import { MillraceError } from '../errors.js'
import { Model, type ModelInfo } from '../model.js'
import { native } from '../native.js'
import { bytes, count, integer, table } from './arguments.js'

/** Bytes of one number in the cache, block scales included. */
const cacheNumberBytes = { f32: 4, f16: 2, q8_0: 34 / 32 } as const
type CacheType = keyof typeof cacheNumberBytes

interface InspectOptions {
  context?: number
  sequences: number
  cacheType: CacheType
  json?: boolean
}

/** Bytes, by what they hold. */
export interface Memory {
  weights: number
  cache: number
  workspace: number
  total: number
}

// Rows of one step, and rows of logits beside those of running sequences: the engine's defaults.
const stepRows = 512
const scoreRows = 32

/** What an engine will take: weights and cache to the byte, activations about. */
export function memoryOf(
  info: ModelInfo,
  context: number,
  sequences: number,
  cacheType: CacheType,
): Memory {
  const perToken = 2 * info.layers * info.kvHeads * info.headLength * cacheNumberBytes[cacheType]
  const cache = perToken * context * sequences
  const rows = Math.max(stepRows, sequences)
  const attention = (info.heads + 2 * info.kvHeads) * info.headLength
  // Residual, norm, q k v, attended, delta, and a feed-forward of about four times the width, twice.
  const activations = rows * (11 * info.embeddingLength + attention)
  const logits = Math.min(rows, sequences + scoreRows) * info.vocabularySize
  const workspace = 4 * (activations + logits)
  return { weights: info.sizeBytes, cache, workspace, total: info.sizeBytes + cache + workspace }
}

function describe(info: ModelInfo): [string, string][] {
  return [
    ['name', info.name],
    ['architecture', info.architecture],
    ['parameters', `${count(info.parameters)} (${info.parameters})`],
    ['quantization', info.quantization || 'none: the file has no tensors'],
    ['file', bytes(info.sizeBytes)],
    ['context', `${info.contextLength} tokens`],
    ['vocabulary', `${info.vocabularySize} tokens`],
    ['layers', String(info.layers)],
    ['heads', `${info.heads}, ${info.kvHeads} for keys and values, ${info.headLength} wide`],
    ['embedding', String(info.embeddingLength)],
    ['chat template', info.chatTemplate === undefined ? 'none: continues text' : 'yes'],
  ]
}

async function openAny(source: string): Promise<Model> {
  try {
    return await Model.open(source)
  } catch (error) {
    // An architecture we cannot run, or a vocabulary alone, can still be described.
    const code = error instanceof MillraceError ? error.code : undefined
    if (code !== 'unsupported' && code !== 'bad-file') throw error
    try {
      return await Model.open(source, { vocabularyOnly: true })
    } catch {
      throw error
    }
  }
}

async function inspect(source: string, options: InspectOptions): Promise<void> {
  if (!Object.hasOwn(cacheNumberBytes, options.cacheType)) {
    throw new TypeError(
      `Expected --cache-type to be one of f32, f16, q8_0 but received "${options.cacheType}"`,
    )
  }
  await using model = await openAny(source)
  const { info } = model
  const context = options.context ?? info.contextLength
  const memory = memoryOf(info, context, options.sequences, options.cacheType)
  const devices = native.devices()
  if (options.json) {
    console.log(JSON.stringify({ info, context, sequences: options.sequences, memory, devices }))
    return
  }
  const plan = `${options.sequences} x ${context} tokens, ${options.cacheType}`
  console.log(table(describe(info)))
  console.log(`\nmemory for ${plan}:`)
  console.log(
    table([
      ['weights', bytes(memory.weights)],
      ['cache', bytes(memory.cache)],
      ['activations', `about ${bytes(memory.workspace)}`],
      ['total', `about ${bytes(memory.total)}`],
    ]),
  )
  for (const device of devices) {
    const verdict = memory.total <= device.freeBytes ? 'fits' : 'does not fit'
    console.log(
      `\n${device.name} (${device.ops}, ${device.threads} threads): ${bytes(device.freeBytes)} free` +
        ` of ${bytes(device.memoryBytes)}: ${verdict}`,
    )
  }
}

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('say what a model is and what memory it needs, before loading it')
    .argument('<model>', 'a .gguf file, or hf:owner/repo[:file] that was pulled')
    .option('-c, --context <tokens>', "tokens per sequence; default: the model's own", integer(1))
    .option('-s, --sequences <n>', 'sequences at once', integer(1), 1)
    .option('--cache-type <type>', 'f32, f16 or q8_0', 'f16')
    .option('--json', 'print one JSON object')
    .action(inspect)
}
