// From the call to the first token of a fresh prompt: prompt tokens per second.
import type { Case } from '../case.js'

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
  drivers: ['millrace', 'node-llama-cpp'],
  unit: 'tokens/s',
  better: 'higher',
})

export const prefill: readonly Case[] = [
  row('qwen3-0.6b', 'Q4_0', 128),
  row('qwen3-0.6b', 'Q4_0', 512),
  row('qwen3-0.6b', 'Q8_0', 128),
  row('qwen3-0.6b', 'Q8_0', 512),
]
