// Property tests draw the same values in each run, so that a commit passes or fails whoever asks;
// MILLRACE_SEED draws others.

import fc from 'fast-check'

const { MILLRACE_SEED: seed = '1' } = process.env
fc.configureGlobal({ seed: Number(seed) })
