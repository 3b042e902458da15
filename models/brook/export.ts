// Writes weights as GGUF, of another element type where asked:
//   node --import tsx models/brook/export.ts <folder or .gguf> [--type Q8_0] --out brook.gguf
//   node --import tsx models/brook/export.ts <.gguf> --weights <folder>
// <folder> holds what encode.ts and train.py wrote; the second form writes weights there that
// train.py can start from. Needs the test build, whose probe quantizes.

import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type ReadTensor, readGguf, valuesOf } from '../../bench/gguf-reader.js'
import { type ElementType, type Entry, ggufBytes } from '../../bench/gguf-writer.js'
import { elementTypeOf, fileTypes, type Mix, planTensors } from '../../bench/model-shapes.js'
import { probe } from '../../test/support/probe.js'
import { entriesOf, shape } from './shape.js'
import type { Vocabulary } from './tokenizer.js'

const native = probe<{
  encodeRow(type: string, values: Float32Array): Uint8Array
  decodeRow(type: string, bytes: Uint8Array): Float32Array
}>()

/** The weights of a model by name; each row of a matrix stays together. */
export type Weights = (name: string) => Float32Array

/** A whole file of these weights in a mix of element types. */
export function modelBytes(entries: Entry[], weights: Weights, mix: Mix): Buffer {
  const tensors = planTensors(shape).map((plan) => ({
    name: plan.name,
    shape: plan.shape,
    type: elementTypeOf(plan, mix, shape),
  }))
  const data = tensors.map(({ name, type }) => encoded(type, weights(name)))
  const fileType: Entry = {
    key: 'general.file_type',
    value: { type: 'u32', value: fileTypes[mix] },
  }
  const all = entries.map((entry) => (entry.key === fileType.key ? fileType : entry))
  return ggufBytes({ entries: all, tensors }, data)
}

function encoded(type: ElementType, values: Float32Array): Uint8Array {
  if (type !== 'F32') return native.encodeRow(type, values)
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
}

/** The weights that train.py saved. */
export function trainedWeights(folder: string): Weights {
  const index: Record<string, { offset: number; shape: number[] }> = JSON.parse(
    readFileSync(join(folder, 'weights.json'), 'utf8'),
  )
  const { buffer } = new Uint8Array(readFileSync(join(folder, 'weights.bin')))
  return (name) => {
    const entry = index[name]
    if (entry === undefined) throw new Error(`Expected trained weights of ${name}`)
    const length = entry.shape.reduce((product, extent) => product * extent, 1)
    return new Float32Array(buffer, entry.offset, length)
  }
}

/** The weights as a file gives them. */
function weightsOf({ tensors }: { tensors: ReadTensor[] }): Weights {
  return (name) => {
    const tensor = tensors.find((one) => one.name === name)
    if (tensor === undefined) throw new Error(`Expected a tensor ${name}`)
    if (tensor.type !== 'F32') return native.decodeRow(tensor.type, tensor.data)
    const values = new Float32Array(valuesOf(tensor))
    new Uint8Array(values.buffer).set(tensor.data)
    return values
  }
}

/** The same model in another mix of element types. */
export function converted(file: Buffer, mix: Mix): Buffer {
  const gguf = readGguf(file)
  return modelBytes(gguf.entries, weightsOf(gguf), mix)
}

/** What trainedWeights reads, of a file. */
function writeWeights(file: Buffer, folder: string): void {
  const gguf = readGguf(file)
  const weights = weightsOf(gguf)
  const index: Record<string, { offset: number; shape: number[] }> = {}
  const parts: Uint8Array[] = []
  let offset = 0
  for (const { name, shape } of gguf.tensors) {
    const values = weights(name)
    index[name] = { offset, shape: shape.toReversed() }
    parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
    offset += values.byteLength
  }
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'weights.json'), JSON.stringify(index))
  writeFileSync(join(folder, 'weights.bin'), Buffer.concat(parts))
}

function trained(folder: string, mix: Mix): Buffer {
  const vocabulary: Vocabulary = JSON.parse(readFileSync(join(folder, 'vocabulary.json'), 'utf8'))
  return modelBytes(entriesOf(vocabulary, fileTypes[mix]), trainedWeights(folder), mix)
}

function main(): void {
  const { values, positionals } = parseArgs({
    options: {
      type: { type: 'string', default: 'Q8_0' },
      out: { type: 'string' },
      weights: { type: 'string' },
    },
    allowPositionals: true,
  })
  const [from] = positionals
  if (from !== undefined && values.weights !== undefined) {
    writeWeights(readFileSync(from), values.weights)
    return
  }
  if (from === undefined || values.out === undefined) {
    throw new Error('Expected <folder or .gguf> --out <file>')
  }
  const mix = values.type as Mix
  if (!(mix in fileTypes)) throw new Error(`Expected a type but received "${values.type}"`)
  const isFolder = statSync(from).isDirectory()
  writeFileSync(values.out, isFolder ? trained(from, mix) : converted(readFileSync(from), mix))
}

if (process.argv[1]?.endsWith('export.ts')) main()
