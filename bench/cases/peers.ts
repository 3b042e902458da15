// Who is measured beside us. The programs are left out where nobody built them.
export const packages = ['millrace', 'node-llama-cpp'] as const
export const programs = [...packages, 'llama-cpp', 'ik-llama-cpp'] as const
export const servers = ['millrace', 'llama-cpp-server', 'ik-llama-cpp-server'] as const

/** The shapes and types of the comparison. */
export const shapes = ['qwen3-0.6b', 'tinyllama-1.1b'] as const
export const types = ['Q4_0', 'Q4_K_M', 'Q8_0', 'F16'] as const
