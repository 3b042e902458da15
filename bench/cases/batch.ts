// Many streams in one process, started together, each with its own prompt: generated tokens per
// second of wall time, prefill included; the rate while all decode stands beside it.
import type { Case } from '../case.js'

const row = (shape: string, type: string, sequences: number): Case => ({
  name: `batch ${shape} ${type} x ${sequences}`,
  kind: 'batch',
  shape,
  type,
  threads: 2,
  promptTokens: 128,
  tokens: 64,
  sequences,
  rounds: 3,
  repetitions: 1,
  drivers: ['millrace', 'node-llama-cpp'],
  unit: 'tokens/s',
  better: 'higher',
})

export const batch: readonly Case[] = [row('qwen3-0.6b', 'Q4_0', 16), row('qwen3-0.6b', 'Q8_0', 16)]
