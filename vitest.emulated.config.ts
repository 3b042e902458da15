// Test files in a Node of another processor: its workers are started by MILLRACE_EMULATED_NODE, the
// runner itself stays in this one. For scripts/emulated.ts.
import { defineConfig, mergeConfig } from 'vitest/config'
import ordinary from './vitest.config.js'

const { MILLRACE_EMULATED_NODE: node } = process.env
if (node === undefined) throw new Error('Expected MILLRACE_EMULATED_NODE to name a program')
process.execPath = node // what a fork of this process runs

const patienceMs = 1_800_000

export default mergeConfig(
  ordinary,
  defineConfig({
    test: { testTimeout: patienceMs, hookTimeout: patienceMs, maxWorkers: 2 },
  }),
)
