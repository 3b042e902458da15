// Who is measured beside us. The programs are left out where nobody built them.
export const packages = ['millrace', 'node-llama-cpp'] as const
export const programs = [...packages, 'llama-cpp', 'ik-llama-cpp'] as const
export const servers = ['millrace', 'llama-cpp-server', 'ik-llama-cpp-server'] as const

/** The shapes and types of the comparison. */
export const shapes = ['qwen3-0.6b', 'tinyllama-1.1b'] as const
export const types = ['Q4_0', 'Q4_K_M', 'Q8_0', 'F16', 'BF16'] as const

/** Every other quantized type, in decode only. */
export const furtherTypes = [
  'Q4_1',
  'Q5_0',
  'Q5_1',
  'Q2_K',
  'Q3_K_M',
  'Q5_K_M',
  'Q6_K',
  'IQ4_NL',
  'IQ4_XS',
  'MXFP4',
] as const
