// Writes the corpus as tokens, with the library's own tokenizer and template:
//   node --import tsx models/brook/encode.ts --out <folder> [--samples n] [--mixture last] [--first n]
// For each split: <split>.tokens (u16 LE), <split>.answers (u8 per token: 1 where an answer is to be
// learned) and <split>.lengths (u32 LE per sample); and vocabulary.gguf, which has no tensors.

import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ggufBytes } from '../../bench/gguf-writer.js'
import { ChatTemplate } from '../../lib/chat/template.js'
import { Model } from '../../lib/index.js'
import { corpus, isMixture, type Mixture } from './corpus/corpus.js'
import type { Sample, Split } from './corpus/sample.js'
import { chatTemplate, entriesOf, seed, shape } from './shape.js'
import { trainTokenizer, type Vocabulary } from './tokenizer.js'

interface Segment {
  text: string
  isAnswer: boolean
}

const template = new ChatTemplate(chatTemplate)

const rendered = ({ turns, tools }: Sample, n: number, addGenerationPrompt: boolean): string =>
  template.render({
    messages: turns.slice(0, n).map((turn) => ({ ...turn })),
    ...(tools === undefined ? {} : { tools }),
    addGenerationPrompt,
  })

/** The text of a sample, what the assistant says apart from the rest. */
export function segmentsOf(sample: Sample): Segment[] {
  if (sample.text !== undefined) {
    return [{ text: `${sample.text}<|endoftext|>`, isAnswer: true }]
  }
  const segments: Segment[] = []
  let done = ''
  const add = (until: string, isAnswer: boolean) => {
    if (!until.startsWith(done)) throw new Error('Expected the template to append only')
    if (until !== done) segments.push({ text: until.slice(done.length), isAnswer })
    done = until
  }
  sample.turns.forEach((turn, i) => {
    if (turn.role !== 'assistant') return
    add(rendered(sample, i, true), false)
    // The newline after <|im_end|> is the template's.
    add(rendered(sample, i + 1, false).trimEnd(), true)
  })
  return segments
}

function* take<T>(from: Iterable<T>, n: number): Generator<T> {
  let left = n
  for (const value of from) {
    if (left-- <= 0) return
    yield value
  }
}

const tokenizerSamples = 20_000

function* texts(): Generator<string> {
  for (const sample of take(corpus(seed, 'train'), tokenizerSamples)) {
    yield segmentsOf(sample)
      .map(({ text }) => text.replace(/<\|?\/?\w+\|?>/g, ' '))
      .join('')
  }
}

interface Part {
  split: Split
  first: number
  samples: number
  mixture: Mixture
}

function encode(model: Model, folder: string, { split, first, samples, mixture }: Part): number {
  const files = ['tokens', 'answers', 'lengths'].map((kind) =>
    openSync(join(folder, `${split}.${kind}`), 'w'),
  )
  let total = 0
  for (const sample of take(corpus(seed, split, mixture, first), samples)) {
    const tokens: number[] = []
    const answers: number[] = []
    for (const { text, isAnswer } of segmentsOf(sample)) {
      const ids = model.tokenize(text, { addSpecial: false, parseSpecial: true })
      for (const id of ids) {
        tokens.push(id)
        answers.push(isAnswer ? 1 : 0)
      }
    }
    if (tokens.length > shape.context) continue
    const [tokenFile = -1, answerFile = -1, lengthFile = -1] = files
    writeSync(tokenFile, Uint16Array.from(tokens))
    writeSync(answerFile, Uint8Array.from(answers))
    writeSync(lengthFile, Uint32Array.of(tokens.length))
    total += tokens.length
  }
  for (const file of files) closeSync(file)
  return total
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      out: { type: 'string' },
      samples: { type: 'string', default: '300000' },
      mixture: { type: 'string', default: 'main' },
      first: { type: 'string', default: '0' }, // sample of the training split
    },
  })
  if (values.out === undefined) throw new Error('Expected --out <folder>')
  mkdirSync(values.out, { recursive: true })
  // A vocabulary that is there is kept: the checkpoint beside it knows its tokens.
  const kept = join(values.out, 'vocabulary.json')
  const vocabulary: Vocabulary = existsSync(kept)
    ? JSON.parse(readFileSync(kept, 'utf8'))
    : trainTokenizer(texts(), shape.vocabulary)
  const path = join(values.out, 'vocabulary.gguf')
  writeFileSync(path, ggufBytes({ entries: entriesOf(vocabulary, 0), tensors: [] }))
  writeFileSync(kept, JSON.stringify(vocabulary))
  await using model = await Model.open(path, { vocabularyOnly: true })
  const { mixture } = values
  if (!isMixture(mixture)) throw new Error(`Expected a mixture but received "${mixture}"`)
  const [samples = 0, first = 0] = [values.samples, values.first].map((text) => {
    if (!/^\d+$/.test(text)) throw new Error(`Expected a number of samples but received "${text}"`)
    return Number(text)
  })
  for (const part of [
    { split: 'train', first, samples, mixture },
    { split: 'valid', first: 0, samples: 4000, mixture: 'main' },
    { split: 'test', first: 0, samples: 4000, mixture: 'main' },
  ] as const) {
    console.log(`${part.split}: ${encode(model, values.out, part)} tokens`)
  }
}

if (process.argv[1]?.endsWith('encode.ts')) await main()
