// From the call to the first token of a fresh prompt: prompt tokens per second.
import type { Case } from '../case.js'
import { programs, shapes, types } from './peers.js'

const row = (shape: string, type: string, promptTokens: number): Case => ({
  name: `prefill ${shape} ${type} of ${promptTokens}`,
  kind: 'prefill',
  shape,
  type,
  threads: 2,
  promptTokens,
  tokens: 1,
  sequences: 1,
  rounds: 5,
  repetitions: 3,
  drivers: programs,
  unit: 'tokens/s',
  better: 'higher',
})

export const prefill: readonly Case[] = shapes.flatMap((shape) =>
  types.flatMap((type) => [128, 512].map((promptTokens) => row(shape, type, promptTokens))),
)
