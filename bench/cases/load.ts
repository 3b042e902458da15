// From a warm page cache: until the first token of a 128-token prompt, until the engine takes
// requests, and the private memory once weights are packed, with room for 2,048 positions. `chat`:
// the prompt is a message of 153 tokens, which a template takes.
import type { Case } from '../case.js'

const row = (shape: string, type: string): Case => ({
  name: `load ${shape} ${type}, to the first token`,
  kind: 'load',
  shape,
  type,
  threads: 2,
  promptTokens: 128,
  tokens: 1,
  sequences: 1,
  contextTokens: 2048,
  rounds: 5,
  repetitions: 1,
  drivers: ['millrace', 'node-llama-cpp'],
  unit: 'ms to first token',
  better: 'lower',
})

const chat = (shape: string, type: string): Case => ({
  ...row(shape, type),
  name: `load ${shape} ${type}, to the first token of a chat`,
  chat: true,
  drivers: ['millrace'],
})

export const load: readonly Case[] = [
  row('qwen3-0.6b', 'Q4_0'),
  row('qwen3-0.6b', 'Q8_0'),
  chat('qwen3-0.6b', 'Q4_0'),
]
