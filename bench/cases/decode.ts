// One stream after a prompt: tokens per second between the first token and the last.
import type { Case } from '../case.js'

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
  drivers: ['millrace', 'node-llama-cpp'],
  unit: 'tokens/s',
  better: 'higher',
})

export const decode: readonly Case[] = [
  row('qwen3-0.6b', 'Q4_0', 128),
  row('qwen3-0.6b', 'Q8_0', 128),
]
