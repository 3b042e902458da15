// What a worker tells the process that started it, on one line of its output.
import type { Sample } from './case.js'

export interface Sitting {
  /** One of each case of the job. */
  samples: Sample[]
  /** CPU time of the worker and of the programs that it started. */
  cpuSeconds: number
}

/** The line begins with it. */
export const marker = 'SAMPLES '
