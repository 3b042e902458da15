#!/usr/bin/env node
// The command line: one subcommand per file beside this one.

import { Command } from 'commander'
import { native } from '../native.js'
import { addBench } from './bench.js'
import { addDemo } from './demo.js'
import { addInspect } from './inspect.js'
import { addPull } from './pull.js'
import { addRun } from './run.js'

// A closed pipe (`millrace run … | head`) is the reader's way to say that it has enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

const program = new Command('millrace')
  .description('LLM inference inside Node.js: runs GGUF models on this machine')
  .version(native.version)
  .showHelpAfterError()

for (const add of [addDemo, addRun, addInspect, addPull, addBench]) add(program)

try {
  await program.parseAsync()
} catch (error) {
  const { code, message } = error as { code?: string; message?: string }
  console.error(`millrace: ${message ?? error}${code === undefined ? '' : ` (${code})`}`)
  process.exitCode = 1
}
