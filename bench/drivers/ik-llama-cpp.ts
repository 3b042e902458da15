// ik_llama.cpp's programs at their best: weights rearranged at load, flash attention.
import { driverOf, type Tools } from './llama-tools.js'

export const tools: Tools = {
  variable: 'MILLRACE_BENCH_IK_LLAMA_CPP',
  flags: {
    'llama-bench': ['-rtr', '1', '-fa', '1'],
    'llama-batched-bench': ['-rtr', '-fa', '1'],
    'llama-server': ['-rtr', '-fa', '1'],
  },
  decodeArguments: (depth, tokens) => ['-p', '0', '-n', '0', '-gp', `${depth},${tokens}`],
}

export const { measure } = driverOf(tools)
