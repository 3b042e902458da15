// The process that measures: takes one job as JSON, prints one line with its samples.
import { spawn } from 'node:child_process'
import { cpuSeconds, type Job, measure } from './measure.js'
import { marker, type Sitting } from './sitting.js'

const job: Job = JSON.parse(process.argv[2] ?? '{}')
const neighbour = job.rows[0]?.busy ? spawn(process.execPath, ['-e', 'for (;;);']) : undefined
const samples = await measure(job).finally(() => neighbour?.kill('SIGKILL'))
const sitting: Sitting = { samples, cpuSeconds: cpuSeconds() }
process.stdout.write(`\n${marker}${JSON.stringify(sitting)}\n`, () => process.exit(0))
