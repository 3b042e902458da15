// Real models' shapes, and which element type each tensor gets in a named mix, as the usual
// quantizer chooses them.
import { type ElementType, elementTypes } from './gguf-writer.js'

export interface Shape {
  architecture: 'llama' | 'qwen2' | 'qwen3'
  layers: number
  dim: number
  heads: number
  kvHeads: number
  headDim: number
  hiddenDim: number
  vocabulary: number
  context: number
  ropeBase: number
  epsilon: number
  tied: boolean
  /** Llama 3.1 divides rope frequencies by factors that the file carries. */
  ropeFactor?: number
}

const qwen3 = {
  architecture: 'qwen3',
  headDim: 128,
  vocabulary: 151936,
  context: 40960,
  ropeBase: 1e6,
  epsilon: 1e-6,
} as const

const llama3 = {
  architecture: 'llama',
  vocabulary: 128256,
  context: 131072,
  ropeBase: 5e5,
  epsilon: 1e-5,
} as const

export const shapes: Record<string, Shape> = {
  'qwen3-0.6b': {
    ...qwen3,
    layers: 28,
    dim: 1024,
    heads: 16,
    kvHeads: 8,
    hiddenDim: 3072,
    tied: true,
  },
  'qwen3-1.7b': {
    ...qwen3,
    layers: 28,
    dim: 2048,
    heads: 16,
    kvHeads: 8,
    hiddenDim: 6144,
    tied: true,
  },
  'qwen3-4b': {
    ...qwen3,
    layers: 36,
    dim: 2560,
    heads: 32,
    kvHeads: 8,
    hiddenDim: 9728,
    tied: true,
  },
  'qwen3-8b': {
    ...qwen3,
    layers: 36,
    dim: 4096,
    heads: 32,
    kvHeads: 8,
    hiddenDim: 12288,
    tied: false,
  },
  'qwen2.5-0.5b': {
    ...qwen3,
    architecture: 'qwen2',
    context: 32768,
    layers: 24,
    dim: 896,
    heads: 14,
    kvHeads: 2,
    headDim: 64,
    hiddenDim: 4864,
    tied: true,
  },
  'tinyllama-1.1b': {
    architecture: 'llama',
    layers: 22,
    dim: 2048,
    heads: 32,
    kvHeads: 4,
    headDim: 64,
    hiddenDim: 5632,
    vocabulary: 32000,
    context: 2048,
    ropeBase: 1e4,
    epsilon: 1e-5,
    tied: false,
  },
  'llama-3.2-1b': {
    ...llama3,
    layers: 16,
    dim: 2048,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    hiddenDim: 8192,
    tied: true,
    ropeFactor: 32,
  },
  'llama-3.1-8b': {
    ...llama3,
    layers: 32,
    dim: 4096,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    hiddenDim: 14336,
    tied: false,
    ropeFactor: 8,
  },
  'mistral-7b': {
    architecture: 'llama',
    layers: 32,
    dim: 4096,
    heads: 32,
    kvHeads: 8,
    headDim: 128,
    hiddenDim: 14336,
    vocabulary: 32768,
    context: 32768,
    ropeBase: 1e6,
    epsilon: 1e-5,
    tied: false,
  },
  'tiny-test': {
    ...qwen3,
    layers: 2,
    dim: 256,
    heads: 4,
    kvHeads: 2,
    headDim: 64,
    hiddenDim: 512,
    context: 2048,
    tied: true,
  },
}

/** Fastest dimension first; norms and biases have one. Layer -1: of no layer. */
export interface TensorPlan {
  name: string
  shape: number[]
  layer: number
}

/** Every tensor of a model, in file order; shapes with the fastest dimension first. */
export const planTensors = (shape: Shape): TensorPlan[] => {
  const { dim, hiddenDim } = shape
  const qDim = shape.heads * shape.headDim
  const kvDim = shape.kvHeads * shape.headDim
  const plan: TensorPlan[] = [
    { name: 'token_embd.weight', shape: [dim, shape.vocabulary], layer: -1 },
    { name: 'output_norm.weight', shape: [dim], layer: -1 },
  ]
  if (!shape.tied) plan.push({ name: 'output.weight', shape: [dim, shape.vocabulary], layer: -1 })
  if (shape.ropeFactor !== undefined) {
    plan.push({ name: 'rope_freqs.weight', shape: [shape.headDim / 2], layer: -1 })
  }
  for (let layer = 0; layer < shape.layers; layer++) {
    const add = (name: string, ...extents: number[]) =>
      plan.push({ name: `blk.${layer}.${name}`, shape: extents, layer })
    add('attn_norm.weight', dim)
    add('attn_q.weight', dim, qDim)
    add('attn_k.weight', dim, kvDim)
    add('attn_v.weight', dim, kvDim)
    add('attn_output.weight', qDim, dim)
    if (shape.architecture === 'qwen3') {
      add('attn_q_norm.weight', shape.headDim)
      add('attn_k_norm.weight', shape.headDim)
    }
    if (shape.architecture === 'qwen2') {
      add('attn_q.bias', qDim)
      add('attn_k.bias', kvDim)
      add('attn_v.bias', kvDim)
    }
    add('ffn_norm.weight', dim)
    add('ffn_gate.weight', dim, hiddenDim)
    add('ffn_up.weight', dim, hiddenDim)
    add('ffn_down.weight', hiddenDim, dim)
  }
  return plan
}

/** general.file_type of every type and mix. */
export const fileTypes = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K: 11,
  Q3_K_M: 12,
  Q4_K: 14,
  Q4_K_S: 14,
  Q4_K_M: 15,
  Q5_K: 16,
  Q5_K_M: 17,
  Q6_K: 18,
  IQ4_NL: 25,
  IQ4_XS: 30,
  BF16: 32,
  MXFP4: 38,
} as const

export type Mix = keyof typeof fileTypes

// Layers in which the middle mixes spend more bits: the first and last eighth, and every third.
const important = (layer: number, layers: number): boolean => {
  const eighth = Math.floor(layers / 8)
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2
}

const layerType = (mix: Mix, name: string, layer: number, layers: number): ElementType => {
  const value = name.endsWith('attn_v.weight')
  const down = name.endsWith('ffn_down.weight')
  switch (mix) {
    case 'Q4_K_M':
      return (value || down) && important(layer, layers) ? 'Q6_K' : 'Q4_K'
    case 'Q5_K_M':
      return (value || down) && important(layer, layers) ? 'Q6_K' : 'Q5_K'
    case 'Q4_K_S':
      return (value && layer < 4) || (down && layer < Math.floor(layers / 8)) ? 'Q5_K' : 'Q4_K'
    case 'Q3_K_M':
      if (value) return layer < 2 ? 'Q5_K' : 'Q4_K'
      if (down && layer < Math.floor(layers / 16)) return 'Q5_K'
      if (down && important(layer, layers)) return 'Q4_K'
      return name.endsWith('attn_output.weight') ? 'Q4_K' : 'Q3_K'
    default:
      return mix
  }
}

// What stands in for a type whose block does not divide the row.
const narrower: Partial<Record<ElementType, ElementType>> = {
  Q2_K: 'IQ4_NL',
  Q3_K: 'IQ4_NL',
  IQ4_XS: 'IQ4_NL',
  Q4_K: 'Q5_0',
  Q5_K: 'Q5_1',
  Q6_K: 'Q8_0',
}

const keepsHead: readonly Mix[] = ['F32', 'F16', 'BF16', 'Q8_0']

/** The element type of a tensor in a mix: vectors stay F32, the output head gets at least Q6_K. */
export const elementTypeOf = (tensor: TensorPlan, mix: Mix, shape: Shape): ElementType => {
  const [cols = 0] = tensor.shape
  if (tensor.shape.length === 1) return 'F32'
  const isHead = tensor.name === (shape.tied ? 'token_embd.weight' : 'output.weight')
  const type =
    isHead && !keepsHead.includes(mix)
      ? 'Q6_K'
      : layerType(mix, tensor.name, tensor.layer, shape.layers)
  return cols % elementTypes[type].values === 0 ? type : (narrower[type] ?? 'F16')
}
