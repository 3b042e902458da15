// Property tests draw the same values in each run, so that a commit passes or fails whoever asks;
// MILLRACE_SEED draws others.

import fc from 'fast-check'

const { MILLRACE_SEED: seed = '1' } = process.env
if (!/^-?\d{1,9}$/.test(seed)) {
  throw new Error(`Expected MILLRACE_SEED to be an integer but received "${seed}"`)
}
fc.configureGlobal({ seed: Number(seed) })
