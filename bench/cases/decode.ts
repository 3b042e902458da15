// One stream after a prompt: tokens per second between the first token and the last.
import type { Case } from '../case.js'
import { furtherTypes, programs, shapes, types } from './peers.js'

const row = (shape: string, type: string, promptTokens: number): Case => ({
  name: `decode ${shape} ${type} at ${promptTokens}`,
  kind: 'decode',
  shape,
  type,
  threads: 2,
  promptTokens,
  tokens: 64,
  sequences: 1,
  rounds: 5,
  repetitions: 3,
  drivers: programs,
  unit: 'tokens/s',
  better: 'higher',
})

// Far into a text: few tokens, for the peers' prompts take a while.
const deep = (shape: string, type: string): Case => ({
  ...row(shape, type, 2048),
  tokens: 32,
  repetitions: 1,
})

const busy = (shape: string, type: string): Case => ({
  ...row(shape, type, 128),
  name: `decode ${shape} ${type} at 128, a busy neighbour`,
  busy: true,
})

export const decode: readonly Case[] = [
  ...shapes.flatMap((shape) => types.map((type) => row(shape, type, 128))),
  ...furtherTypes.map((type) => row('qwen3-0.6b', type, 128)),
  deep('qwen3-0.6b', 'Q4_0'),
  deep('qwen3-0.6b', 'Q8_0'),
  busy('qwen3-0.6b', 'Q4_0'),
]
