// The process that measures: takes one job as JSON, prints one line with the sample.
import { spawn } from 'node:child_process'
import { type Job, measure } from './measure.js'

export const marker = 'SAMPLE '

const job: Job = JSON.parse(process.argv[2] ?? '{}')
const neighbour = job.row.busy ? spawn(process.execPath, ['-e', 'for (;;);']) : undefined
const sample = await measure(job).finally(() => neighbour?.kill('SIGKILL'))
process.stdout.write(`\n${marker}${JSON.stringify(sample)}\n`, () => process.exit(0))
