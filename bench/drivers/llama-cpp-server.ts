// llama.cpp's own server.
import { tools } from './llama-cpp.js'
import { serverOf } from './llama-server.js'

export const { open } = serverOf(tools)
