// What inference costs the JavaScript thread. `crossing`: its CPU time per step of 32 sequences beside
// a running engine, on a model so small that steps are short, the kernel's part of waking the thread
// included, and in turn with it the floor, what Node takes to be woken as often and to continue as
// many bare loops; `awaited`: with nobody reading pieces. `replay`: the CPU time of one delivery to 32
// readers, the loop never asleep, without what bare `for await` loops take (both stand beside it).
// `loop`: the delay of the event loop while 32 streams of a real shape run; the idle reading of the
// same histogram stands beside it, nothing is subtracted.
import type { Case } from '../case.js'

const peers = ['millrace', 'node-llama-cpp']

const shared = {
  threads: 2,
  sequences: 32,
  drivers: peers,
  better: 'lower',
} as const

const loop = (type: string): Case => ({
  ...shared,
  name: `loop qwen3-0.6b ${type} x 32`,
  kind: 'loop',
  shape: 'qwen3-0.6b',
  type,
  promptTokens: 32,
  tokens: 32,
  rounds: 3,
  repetitions: 1,
  unit: 'ms delay p99',
  limit: 5,
})

const tiny = {
  ...shared,
  drivers: ['millrace'],
  kind: 'crossing',
  shape: 'tiny-test',
  type: 'Q8_0',
  promptTokens: 8,
  tokens: 1024,
  rounds: 3,
  repetitions: 4,
  unit: 'us of JS thread per step',
  limit: 10,
} as const

const real = (type: string) => ({ shape: 'qwen3-0.6b', type, tokens: 128, repetitions: 2 })

const { limit: _, ...unlimited } = tiny

export const crossing: readonly Case[] = [
  { ...tiny, name: 'crossing tiny x 32' },
  { ...tiny, name: 'crossing tiny x 32 awaited', awaited: true },
  { ...tiny, name: 'replay x 32', kind: 'replay', tokens: 0 },
  // Steps of 100 ms leave no cache warm.
  { ...tiny, name: 'crossing qwen3-0.6b Q4_0 x 32', ...real('Q4_0') },
  { ...tiny, name: 'crossing qwen3-0.6b Q8_0 x 32', ...real('Q8_0') },
  // Short, for the peer takes minutes: what starting the requests costs is a part of it.
  {
    ...unlimited,
    name: 'crossing tiny x 32, 96 steps',
    tokens: 96,
    repetitions: 1,
    drivers: peers,
  },
  loop('Q4_0'),
  loop('Q8_0'),
]
