// How well Brook does, per task, on samples it never saw:
//   node --import tsx models/brook/evaluate.ts <file.gguf> [--split heldout] [--samples 400] [--show]
//   node --import tsx models/brook/evaluate.ts <file.gguf> --perplexity [--split test] [--samples 1600]
// Greedy, through the public API, 16 at a time. Prints one line of JSON.

import { parseArgs } from 'node:util'
import { ChatTemplate } from '../../lib/chat/template.js'
import { Engine } from '../../lib/index.js'
import { corpus } from './corpus/corpus.js'
import type { Sample, Split, Task } from './corpus/sample.js'
import { segmentsOf } from './encode.js'
import { asked, isRight, storyFaults } from './judge.js'
import { chatTemplate, seed, shape } from './shape.js'

export interface Score {
  right: number
  of: number
}

export type Scores = Partial<Record<Task, Score>>

const template = new ChatTemplate(chatTemplate)
const longestAnswer = 260 // tokens

const firstSentence = (text: string): string => /^[^.]*\./.exec(text)?.[0] ?? text

const promptOf = (sample: Sample): string =>
  sample.text !== undefined
    ? firstSentence(sample.text)
    : template.render({
        messages: asked(sample).turns.map((turn) => ({ ...turn })),
        ...(sample.tools === undefined ? {} : { tools: sample.tools }),
      })

/** Undefined where the task is not judged: small talk, and stories in Chinese. */
function verdict(sample: Sample, answer: string, hasEnded: boolean): boolean | undefined {
  if (sample.task === 'chat') return undefined
  if (sample.task !== 'story') return hasEnded && isRight(sample, answer)
  if (sample.language === 'zh' || sample.facts === undefined) return undefined
  if (sample.text === undefined) {
    const [{ content: request = '' } = {}] = sample.turns
    const wanted = sample.facts.names.filter((name) => request.includes(name))
    return storyFaults(answer, { ...sample.facts, names: wanted }, hasEnded).length === 0
  }
  const story = firstSentence(sample.text) + answer
  return storyFaults(story, { names: sample.facts.names.slice(0, 1) }, hasEnded).length === 0
}

/** The first n samples of each task. */
export function samplesOf(split: Split, n: number): Sample[] {
  const counts = new Map<Task, number>()
  const chosen: Sample[] = []
  for (const sample of corpus(`${seed} evaluation`, split)) {
    if (sample.task === 'chat') continue
    const count = counts.get(sample.task) ?? 0
    if (count < n) chosen.push(sample)
    counts.set(sample.task, count + 1)
    if (counts.size === 6 && [...counts.values()].every((one) => one >= n)) return chosen
  }
  return chosen
}

const tokensOf = (engine: Engine, text: string): number[] => [
  ...engine.model.tokenize(text, { addSpecial: false, parseSpecial: true }),
]

/** Of every token after the first of each sample: prompts, answers and what ends them. */
export async function perplexity(engine: Engine, split: Split, n: number): Promise<number> {
  const samples = corpus(`${seed} perplexity`, split)
  const prompts: number[][] = []
  while (prompts.length < n) {
    const segments = segmentsOf(samples.next().value)
    const prompt = segments.flatMap(({ text }) => tokensOf(engine, text))
    if (prompt.length <= shape.context) prompts.push(prompt)
  }
  const sums = await Promise.all(
    prompts.map(async (prompt) => {
      const { logprobs } = await engine.score({ prompt })
      return { sum: logprobs.subarray(1).reduce((sum, one) => sum + one, 0), n: prompt.length - 1 }
    }),
  )
  const total = (of: 'sum' | 'n') => sums.reduce((sum, one) => sum + one[of], 0)
  return Math.exp(-total('sum') / total('n'))
}

/** Asks for the last answer of each sample, all at once, and judges. */
export async function evaluate(
  engine: Engine,
  samples: Sample[],
  onAnswer: (sample: Sample, answer: string, isRight: boolean) => void = () => {},
): Promise<Scores> {
  const scores: Scores = {}
  await Promise.all(
    samples.map(async (sample) => {
      const prompt = tokensOf(engine, promptOf(sample))
      if (prompt.length + longestAnswer > shape.context) return
      const { text, finishReason } = await engine.generate({
        prompt,
        maxTokens: longestAnswer,
        temperature: 0,
      })
      const right = verdict(sample, text, finishReason === 'stop')
      if (right === undefined) return
      scores[sample.task] ??= { right: 0, of: 0 }
      const score = scores[sample.task] as Score
      score.of++
      if (right) score.right++
      onAnswer(sample, text, right)
    }),
  )
  return scores
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: {
      split: { type: 'string', default: 'heldout' },
      samples: { type: 'string' },
      show: { type: 'boolean', default: false },
      perplexity: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  const [file] = positionals
  if (file === undefined) throw new Error('Expected a file')
  const split = values.split as Split
  const n = Number(values.samples ?? (values.perplexity ? 1600 : 400)) // by 400 the splits differ by chance
  const samples = values.perplexity ? [] : samplesOf(split, n)
  await using engine = await Engine.open(file, { maxSequences: 16, queueLimit: 10 * n })
  if (values.perplexity) {
    console.log(JSON.stringify({ file, split, perplexity: await perplexity(engine, split, n) }))
    return
  }
  const scores = await evaluate(engine, samples, (sample, answer, isRight) => {
    if (!values.show || isRight) return
    const expected = sample.text ?? JSON.stringify(sample.turns.at(-1))
    console.error(`${sample.task}: expected ${expected}\n  received ${answer}`)
  })
  const shares = Object.entries(scores).map(([task, { right, of }]) => [
    task,
    `${((100 * right) / of).toFixed(1)} % of ${of}`,
  ])
  console.log(JSON.stringify({ file, split, ...Object.fromEntries(shares) }))
}

if (process.argv[1]?.endsWith('evaluate.ts')) await main()
