// Run in a process of its own: opens every file of a folder as far as it goes, one JSON line each.
//   node --import tsx test/support/open-each.ts <folder>
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Engine, Model } from '../../lib/index.js'
import { reader } from './model-file.js'
import { probe } from './probe.js'

/** What became of one file: a code per way of opening it, "ok" where it opened. */
export interface Outcome {
  file: string
  mapped: string
  read: string
  vocabulary: string
  logits: string
  answer: string
}

const codeOf = (open: () => unknown): string => {
  try {
    open()
    return 'ok'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

// The public way, up to a few generated tokens.
const answer = async (path: string): Promise<string> => {
  try {
    await using model = await Model.open(path)
    const tokens = model.tokenize('a tiny text')
    await using engine = await Engine.open(model, { threads: 1, cacheTokens: 256 })
    await engine.generate({ prompt: tokens, maxTokens: 3, ignoreEos: true })
    return 'ok'
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}

const folder = process.argv[2] ?? '.'
for (const file of readdirSync(folder).sort()) {
  const path = join(folder, file)
  process.stdout.write(`${file} `)
  const outcome: Outcome = {
    file,
    mapped: codeOf(() => reader.openModelFile(path, true, false)),
    read: codeOf(() => reader.openModelFile(path, false, false)),
    vocabulary: codeOf(() => reader.openModelFile(path, true, true)),
    logits: codeOf(() =>
      probe.modelLogits({
        path,
        ops: process.env.MILLRACE_OPS ?? '',
        threads: 1,
        chunk: 4,
        cacheType: 'f16',
        tokens: Int32Array.of(1, 5, 9, 200),
      }),
    ),
    answer: await answer(path),
  }
  process.stdout.write(`${JSON.stringify(outcome)}\n`)
}
