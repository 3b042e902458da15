// `millrace inspect <model>`: what it is, and what memory it needs, before loading it.

import type { Command } from 'commander'
import { call, MillraceError } from '../errors.js'
import { Model, type ModelInfo, nativeOf } from '../model.js'
import { type NativeDevice, native } from '../native.js'
import { bytes, count, integer, modelArgument, table } from './arguments.js'

interface InspectOptions {
  context?: number
  sequences: number
  cacheType: string
  json?: boolean
}

/** Bytes, by what they hold. */
export interface Memory {
  weights: number
  cache: number
  workspace: number
  total: number
}

const stepTokens = 512 // the engine's default

/** What an engine will take: the file, the cache and the activations of one step. */
export function memoryOf(
  model: Model,
  context: number,
  sequences: number,
  cacheType: string,
): Memory {
  const { cacheBytes, workspaceBytes } = call(() =>
    nativeOf(model).memory(context, sequences, Math.max(stepTokens, sequences), cacheType),
  )
  const weights = model.info.sizeBytes
  const total = weights + cacheBytes + workspaceBytes
  return { weights, cache: cacheBytes, workspace: workspaceBytes, total }
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

const threadsOf = ({ name, threads }: NativeDevice): string =>
  name === 'cpu' ? `, ${threads} threads` : ''

async function inspect(source: string, options: InspectOptions): Promise<void> {
  await using model = await openAny(source)
  const { info } = model
  const context = options.context ?? info.contextLength
  const { sequences, cacheType } = options
  const hasWeights = info.quantization !== '' && info.headLength > 0
  const memory = hasWeights ? memoryOf(model, context, sequences, cacheType) : undefined
  const { devices, whyNoGpu } = await native.devices().promise
  if (options.json) {
    console.log(JSON.stringify({ info, context, sequences, memory, devices, whyNoGpu }))
    return
  }
  console.log(table(describe(info)))
  if (memory === undefined) return
  console.log(`\nmemory for ${sequences} x ${context} tokens, ${cacheType}:`)
  console.log(
    table([
      ['weights', bytes(memory.weights)],
      ['cache', bytes(memory.cache)],
      ['activations', bytes(memory.workspace)],
      ['total', bytes(memory.total)],
    ]),
  )
  for (const device of devices) {
    const verdict = memory.total <= device.freeBytes ? 'fits' : 'does not fit'
    console.log(
      `\n${device.name} (${device.hardware}, ${device.ops}${threadsOf(device)}): ` +
        `${bytes(device.freeBytes)} free of ${bytes(device.memoryBytes)}: ${verdict}`,
    )
  }
  if (whyNoGpu !== undefined) console.log(`cuda: not used, ${whyNoGpu}`)
}

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('say what a model is and what memory it needs, before loading it')
    .argument('<model>', modelArgument)
    .option('-c, --context <tokens>', "tokens per sequence; default: the model's own", integer(1))
    .option('-s, --sequences <n>', 'sequences at once', integer(1), 1)
    .option('--cache-type <type>', 'f32, f16 or q8_0', 'f16')
    .option('--json', 'print one JSON object')
    .action(inspect)
}
