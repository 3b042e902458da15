// ik_llama.cpp's server at its best: weights rearranged at load, flash attention.
import { tools } from './ik-llama-cpp.js'
import { serverOf } from './llama-server.js'

export const { open } = serverOf(tools)
