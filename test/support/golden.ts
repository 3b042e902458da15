// The golden files' shapes and the measures that compare logits with them.

import { sharedBytes, sharedJson } from './shared.js'

/** One prompt; the arrays run over its positions, `greedy` over the continuation. */
export interface GoldenPrompt {
  ids: number[]
  argmax: number[]
  logsumexp: number[]
  top1_margin: number[]
  top: [number, number][][]
  greedy: { ids: number[]; margin: number[] }
  llamacpp: { max_abs_diff: number[]; kl: number[] }
}

export interface GoldenModel {
  name: string
  arch: string
  kind?: string
  model: string
  golden?: string
  last_logits: string
  last_logits_shape: [number, number, number]
  llamacpp_kl_mean?: number
  tensor_types?: Record<string, unknown>
}

export interface Manifest {
  models: GoldenModel[]
  quant: GoldenModel[]
}

export const readManifest = (): Manifest => sharedJson<Manifest>('golden/MANIFEST.json')

export const readPrompts = (model: GoldenModel): GoldenPrompt[] =>
  sharedJson<{ prompts: GoldenPrompt[] }>(
    `golden/${model.golden ?? `golden/${model.name}.json.gz`}`,
  ).prompts

/** Exact logits of each prompt's last position. */
export function readLastLogits(model: GoldenModel): Float32Array[] {
  const bytes = sharedBytes(`golden/${model.last_logits}`)
  const all = new Float32Array(
    bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length),
  )
  const [, prompts, vocabulary] = model.last_logits_shape
  return Array.from({ length: prompts }, (_, i) => all.slice(i * vocabulary, (i + 1) * vocabulary))
}

export function logSumExp(logits: ArrayLike<number>): number {
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < logits.length; i++) max = Math.max(max, logits[i] as number)
  let sum = 0
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - max)
  return max + Math.log(sum)
}

export function argMax(logits: ArrayLike<number>): number {
  let best = 0
  for (let i = 1; i < logits.length; i++) {
    if ((logits[i] as number) > (logits[best] as number)) best = i
  }
  return best
}

/** KL(exact || other) over whole distributions, in nats. */
export function divergence(exact: ArrayLike<number>, other: ArrayLike<number>): number {
  const [a, b] = [logSumExp(exact), logSumExp(other)]
  let sum = 0
  for (let i = 0; i < exact.length; i++) {
    const p = (exact[i] as number) - a
    sum += Math.exp(p) * (p - ((other[i] as number) - b))
  }
  return sum
}
