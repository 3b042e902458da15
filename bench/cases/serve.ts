// Streaming clients that begin together, each with a prompt that starts as everybody's and ends as
// its own: generated tokens per second of wall time, and beside it each client's wait for the first
// token and the longest gap between two tokens. `cold`: nobody asked before; `warm`: each client had
// asked something about the common part, so that a server with a cache for each has it in all. Ours through the public API, the peers' servers over HTTP.
import type { Case } from '../case.js'
import { servers } from './peers.js'

const row = (type: string, sequences: number, isWarm: boolean): Case => ({
  name: `serve qwen3-0.6b ${type} x ${sequences}, ${isWarm ? 'warm' : 'cold'}`,
  kind: 'batch',
  shape: 'qwen3-0.6b',
  type,
  threads: 2,
  promptTokens: 320,
  sharedTokens: 256,
  warm: isWarm,
  tokens: 48,
  sequences,
  rounds: 5,
  repetitions: 1,
  drivers: servers,
  unit: 'tokens/s',
  better: 'higher',
})

export const serve: readonly Case[] = ['Q4_0', 'Q8_0'].flatMap((type) =>
  [8, 16, 32].flatMap((sequences) => [false, true].map((warm) => row(type, sequences, warm))),
)
