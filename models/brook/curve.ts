// The loss of a training run as a picture, and its log thinned to what the picture shows:
//   node --import tsx models/brook/curve.ts <folder> --out models/brook
// <folder> holds the log.jsonl of train.py. Writes loss.svg and log.jsonl.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

interface Entry {
  step: number
  tokens: number
  seconds: number
  rate: number
  /** Mean cross-entropy of answers and of echoes since the entry before, in nats. */
  loss: number
  echo?: number
  /** Perplexity on part of the validation split: of answers, and of every token. */
  answers?: number
  all?: number
}

const everySteps = 100
const [width, height, margin] = [720, 360, 48]

/** One entry for so many steps, its losses the mean of those it stands for. */
function thinned(entries: Entry[]): Entry[] {
  const groups = new Map<number, Entry[]>()
  for (const entry of entries) {
    const group = Math.ceil(entry.step / everySteps)
    groups.set(group, [...(groups.get(group) ?? []), entry])
  }
  const mean = (values: number[]): number =>
    Number((values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(4))
  return [...groups.values()].map((group) => {
    const { step, tokens, seconds, rate, answers, all } = group.at(-1) as Entry
    const echoes = group.flatMap(({ echo }) => (echo === undefined ? [] : [echo]))
    return {
      step,
      tokens,
      seconds: Math.round(seconds),
      rate: Number(rate.toFixed(4)),
      loss: mean(group.map(({ loss }) => loss)),
      ...(echoes.length > 0 ? { echo: mean(echoes) } : {}),
      ...(answers === undefined ? {} : { answers: Number(answers.toFixed(4)) }),
      ...(all === undefined ? {} : { all: Number(all.toFixed(4)) }),
    }
  })
}

/** Loss over tokens, the loss on a logarithmic axis. */
function picture(entries: Entry[]): string {
  const most = entries.at(-1)?.tokens ?? 1
  const [low, high] = [0.05, 10]
  const x = (tokens: number): number => margin + (tokens / most) * (width - 2 * margin)
  const y = (loss: number): number => {
    const part = Math.log(Math.max(loss, low) / low) / Math.log(high / low)
    return height - margin - part * (height - 2 * margin)
  }
  const line = (colour: string, values: [number, number][]): string => {
    const points = values.map(([at, loss]) => `${x(at).toFixed(1)},${y(loss).toFixed(1)}`)
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.join(' ')}"/>`
  }
  const text = (at: number, top: number, words: string, anchor = 'middle'): string =>
    `<text x="${at.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}">${words}</text>`
  const millions = Array.from({ length: Math.floor(most / 5e6) + 1 }, (_, i) => i * 5)
  const losses = [0.1, 1, 10]
  const rule = (loss: number): string =>
    `<line x1="${margin}" x2="${width - margin}" y1="${y(loss)}" y2="${y(loss)}" stroke="#ccc"/>`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    '<title>The loss of the training run</title>',
    `<rect width="${width}" height="${height}" fill="white"/>`,
    ...losses.map((loss) => rule(loss) + text(margin - 6, y(loss) + 4, String(loss), 'end')),
    ...millions.map((m) => text(x(m * 1e6), height - margin + 18, `${m} M`)),
    line(
      '#999',
      entries.flatMap(({ tokens, echo }) => (echo === undefined ? [] : [[tokens, echo]])),
    ),
    line(
      '#06c',
      entries.map(({ tokens, loss }) => [tokens, loss]),
    ),
    line(
      '#c30',
      entries.flatMap(({ tokens, answers }) =>
        answers === undefined ? [] : [[tokens, Math.log(answers)]],
      ),
    ),
    text(width / 2, height - 8, 'tokens trained on'),
    text(
      width / 2,
      20,
      'cross-entropy in nats: answers (blue), on validation (red); echoes (grey)',
    ),
    '</svg>\n',
  ].join('\n')
}

function main(): void {
  const { values, positionals } = parseArgs({
    options: { out: { type: 'string' } },
    allowPositionals: true,
  })
  const [folder] = positionals
  if (folder === undefined || values.out === undefined) throw new Error('Expected <folder> --out')
  const lines = readFileSync(join(folder, 'log.jsonl'), 'utf8').trim().split('\n')
  const entries = thinned(lines.map((line) => JSON.parse(line) as Entry))
  const rows = entries.map((entry) => `${JSON.stringify(entry)}\n`)
  writeFileSync(join(values.out, 'log.jsonl'), rows.join(''))
  writeFileSync(join(values.out, 'loss.svg'), picture(entries))
}

if (process.argv[1]?.endsWith('curve.ts')) main()
