// Many streams in one process, started together: generated tokens per second of wall time, prefill
// included; the rate while all decode stands beside it. `shared`: all prompts are one.
import type { Case } from '../case.js'
import { packages, programs } from './peers.js'

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
  drivers: packages,
  unit: 'tokens/s',
  better: 'higher',
})

const shared = (shape: string, type: string, sequences: number): Case => ({
  ...row(shape, type, sequences),
  name: `batch ${shape} ${type} x ${sequences}, shared prompt`,
  promptTokens: 256,
  sharedTokens: 256,
  tokens: 32,
  drivers: programs,
})

export const batch: readonly Case[] = [
  row('qwen3-0.6b', 'Q4_0', 16),
  row('qwen3-0.6b', 'Q8_0', 16),
  ...['Q4_0', 'Q4_K_M', 'Q8_0'].flatMap((type) =>
    [8, 16, 32].map((sequences) => shared('qwen3-0.6b', type, sequences)),
  ),
]
