// Runs the steps of a script one after another, shows each one's outcome, and fails at the end if
// one failed.

import { spawnSync } from 'node:child_process'
import { projectRoot } from '../test/support/sources.js'

export interface Step {
  name: string
  command: string
  args: string[]
  env?: Record<string, string>
  cwd?: string // default: the project's root
}

export function runStep({ name, command, args, env = {}, cwd = projectRoot }: Step): boolean {
  console.log(`--- ${name}`)
  const ended = spawnSync(command, args, {
    cwd,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  if (ended.error) console.error(`${name}: ${ended.error.message}`)
  const passed = ended.status === 0
  console.log(`--- ${name}: ${passed ? 'passed' : 'FAILED'}`)
  return passed
}

/** All steps run, also after a failure. */
export function runSteps(steps: Step[]): void {
  const failed = steps.filter((step) => !runStep(step)).map((step) => step.name)
  if (failed.length === 0) return
  console.error(`failed: ${failed.join(', ')}`)
  process.exit(1)
}

/** The value, or the end of the script with a sentence. */
export function required<T>(value: T | undefined, sentence: string): T {
  if (value !== undefined) return value
  console.error(sentence)
  process.exit(1)
}
