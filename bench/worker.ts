// The process that measures: takes one job as JSON, prints one line with the sample.
import { type Job, measure } from './measure.js'

export const marker = 'SAMPLE '

const job: Job = JSON.parse(process.argv[2] ?? '{}')
const sample = await measure(job)
process.stdout.write(`\n${marker}${JSON.stringify(sample)}\n`, () => process.exit(0))
