// Writes trained weights as GGUF:
//   node --import tsx models/brook/export.ts <folder> [--type Q8_0] --out brook.gguf
// <folder> holds what encode.ts and train.py wrote. Needs the test build, whose probe quantizes.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type ElementType, ggufBytes } from '../../bench/gguf-writer.js'
import { elementTypeOf, fileTypes, type Mix, planTensors } from '../../bench/model-shapes.js'
import { probe } from '../../test/support/probe.js'
import { entriesOf, shape } from './shape.js'
import type { Vocabulary } from './tokenizer.js'

const native = probe<{ encodeRow(type: string, values: Float32Array): Uint8Array }>()

/** The weights of a model by name; each row of a matrix stays together. */
export type Weights = (name: string) => Float32Array

/** A whole file of these weights in a mix of element types. */
export function modelBytes(vocabulary: Vocabulary, weights: Weights, mix: Mix): Buffer {
  const tensors = planTensors(shape).map((plan) => ({
    name: plan.name,
    shape: plan.shape,
    type: elementTypeOf(plan, mix, shape),
  }))
  const data = tensors.map(({ name, type }) => encoded(type, weights(name)))
  return ggufBytes({ entries: entriesOf(vocabulary, fileTypes[mix]), tensors }, data)
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

function main(): void {
  const { values, positionals } = parseArgs({
    options: { type: { type: 'string', default: 'Q8_0' }, out: { type: 'string' } },
    allowPositionals: true,
  })
  const [folder] = positionals
  if (folder === undefined || values.out === undefined) {
    throw new Error('Expected <folder> --out <file>')
  }
  const vocabulary: Vocabulary = JSON.parse(readFileSync(join(folder, 'vocabulary.json'), 'utf8'))
  const mix = values.type as Mix
  if (!(mix in fileTypes)) throw new Error(`Expected a type but received "${values.type}"`)
  writeFileSync(values.out, modelBytes(vocabulary, trainedWeights(folder), mix))
}

if (process.argv[1]?.endsWith('export.ts')) main()
