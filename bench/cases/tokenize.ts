// One thread, documents of about 8 kB, the Qwen vocabulary: tokens per second through the
// synchronous call. Every driver has to give the same ids.
import type { Case } from '../case.js'

const row = (text: 'english' | 'chinese' | 'code'): Case => ({
  name: `tokenize qwen ${text}`,
  kind: 'tokenize',
  shape: 'qwen-vocabulary',
  type: 'none',
  threads: 1,
  promptTokens: 0,
  tokens: 0,
  sequences: 1,
  rounds: 5,
  repetitions: 3,
  drivers: ['millrace', 'tiktoken'],
  unit: 'Mtokens/s',
  better: 'higher',
  text,
})

export const tokenize: readonly Case[] = [row('english'), row('chinese'), row('code')]
