// llama.cpp's own programs, flash attention as they choose it.
import { driverOf, type Tools } from './llama-tools.js'

export const tools: Tools = {
  variable: 'MILLRACE_BENCH_LLAMA_CPP',
  flags: { 'llama-bench': [], 'llama-batched-bench': [], 'llama-server': [] },
  decodeArguments: (depth, tokens) => ['-p', '0', '-n', String(tokens), '-d', String(depth)],
}

export const { measure } = driverOf(tools)
