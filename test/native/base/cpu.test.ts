// What a process may use of its machine: fewer processors than there are, by affinity and by the time
// quota of a control group. Asked once per process, so each case has one of its own.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { buildFolder } from '../../support/probe.js'

interface Counts {
  threads: number
  cores: number
  memoryBytes: number
}

const addon = JSON.stringify(join(buildFolder, 'millrace_probe.node'))
const program = `console.log(JSON.stringify(require(${addon}).cpuCounts()))`

const counts = (command: string, ...args: string[]): Counts =>
  JSON.parse(execFileSync(command, args, { encoding: 'utf8' }))

const here = (): Counts => counts(process.execPath, '-e', program)

// Groups of our own, one in the other, where the system lets us make them: of version 2 for both
// limits, of version 1 for each.
const root = '/sys/fs/cgroup'
const isSecond = existsSync(`${root}/cgroup.controllers`)
const outer = (isSecond ? [root] : [`${root}/cpu`, `${root}/memory`]).map(
  (folder) => `${folder}/millrace-${process.pid}`,
)
const inner = outer.map((folder) => `${folder}/inside`)

function makeGroups(): boolean {
  const [first = '', last = first] = outer
  try {
    if (isSecond) writeFileSync(`${root}/cgroup.subtree_control`, '+cpu +memory')
    for (const folder of inner) mkdirSync(folder, { recursive: true })
    writeFileSync(`${first}/${isSecond ? 'cpu.max' : 'cpu.cfs_quota_us'}`, '150000')
    writeFileSync(`${last}/memory.${isSecond ? 'max' : 'limit_in_bytes'}`, String(2 ** 30))
    return true
  } catch {
    removeGroups()
    return false
  }
}

function removeGroups(): void {
  for (const folder of [...inner, ...outer]) if (existsSync(folder)) rmdirSync(folder)
}

/** In a process that joins the groups before it asks. */
const inside = (): Counts => {
  const enter = (folder: string) =>
    `require('node:fs').writeFileSync(${JSON.stringify(`${folder}/cgroup.procs`)}, '0'); `
  return counts(process.execPath, '-e', inner.map(enter).join('') + program)
}

describe.skipIf(process.platform !== 'linux')('the processors of a process', () => {
  it('are those of its affinity', () => {
    expect(here().threads).toBeLessThanOrEqual(availableParallelism())
    const one = counts('taskset', '-c', '0', process.execPath, '-e', program)
    expect([one.threads, one.cores]).toEqual([1, 1])
  })

  it('and its memory are within the limits of a group above its own', (context) => {
    if (!makeGroups()) return context.skip()
    try {
      const { threads, cores, memoryBytes } = inside()
      expect([threads, cores]).toEqual([1, 1])
      expect(memoryBytes).toBe(2 ** 30)
    } finally {
      removeGroups()
    }
  })
})
