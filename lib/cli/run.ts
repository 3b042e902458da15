// `millrace run <model> [prompt]`: streams one answer, or chats.

import { createInterface } from 'node:readline/promises'
import type { Command } from 'commander'
import type { Message } from '../chat/messages.js'
import { Engine } from '../engine.js'
import type { Generation } from '../generation.js'
import type { GenerateRequest } from '../request.js'
import {
  addEngineOptions,
  decimal,
  type EngineArguments,
  engineOptionsOf,
  given,
  integer,
  modelArgument,
} from './arguments.js'

interface RunOptions extends EngineArguments {
  maxTokens?: number
  temperature?: number
  topK?: number
  topP?: number
  minP?: number
  seed?: number
  stop?: string[]
  system?: string
  raw?: boolean
  cacheTokens?: number
}

type Settings = Omit<GenerateRequest, 'prompt' | 'messages'>

const settingsOf = (options: RunOptions): Settings =>
  given({
    maxTokens: options.maxTokens,
    temperature: options.temperature,
    topK: options.topK,
    topP: options.topP,
    minP: options.minP,
    seed: options.seed,
    stop: options.stop,
  }) as Settings

/** Prints the pieces as they come; gives the whole text. */
async function stream(generation: Generation): Promise<string> {
  let last = ''
  for await (const piece of generation) {
    process.stdout.write(piece.text)
    if (piece.text !== '') last = piece.text
  }
  if (!last.endsWith('\n')) process.stdout.write('\n')
  return (await generation).text
}

/** One answer, after what stands before it. Ctrl-C stops it. */
async function answer(engine: Engine, request: GenerateRequest, before = ''): Promise<void> {
  const controller = new AbortController()
  const stop = () => {
    process.exitCode = 130
    controller.abort()
  }
  process.once('SIGINT', stop)
  try {
    process.stdout.write(before)
    await stream(engine.generate({ ...request, signal: controller.signal }))
  } finally {
    process.removeListener('SIGINT', stop)
  }
}

/** The request of one more turn; without a template, the line itself is completed. */
function turn(settings: Settings, history: Message[], line: string, chats: boolean) {
  if (!chats) return { ...settings, prompt: line }
  history.push({ role: 'user', content: line })
  return { ...settings, messages: history }
}

/** Turn after turn, with history. Ctrl-C stops the answer; at the prompt it leaves. */
async function chat(engine: Engine, options: RunOptions, chats: boolean): Promise<void> {
  const history: Message[] =
    options.system === undefined ? [] : [{ role: 'system', content: options.system }]
  const settings = settingsOf(options)
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: '> ' })
  let current: Generation | undefined
  const interrupt = () => {
    if (current === undefined) lines.close()
    else current.abort()
    current = undefined
  }
  lines.on('SIGINT', interrupt)
  process.on('SIGINT', interrupt)
  lines.prompt()
  try {
    for await (const line of lines) {
      if (line.trim() !== '') {
        current = engine.generate(turn(settings, history, line, chats))
        const text = await stream(current)
        if (chats) history.push({ role: 'assistant', content: text })
      }
      current = undefined
      lines.prompt()
    }
  } finally {
    process.removeListener('SIGINT', interrupt)
  }
}

async function run(source: string, prompt: string | undefined, options: RunOptions): Promise<void> {
  await using engine = await Engine.open(source, {
    ...engineOptionsOf(options),
    ...given({ cacheTokens: options.cacheTokens }),
  })
  const chats = !options.raw && engine.model.info.chatTemplate !== undefined
  if (prompt === undefined) return await chat(engine, options, chats)
  if (!chats) {
    if (options.system !== undefined) {
      throw new TypeError('Expected a chat template for --system: this run completes the prompt')
    }
    return await answer(engine, { ...settingsOf(options), prompt }, prompt)
  }
  const system: Message[] =
    options.system === undefined ? [] : [{ role: 'system', content: options.system }]
  return await answer(engine, {
    ...settingsOf(options),
    messages: [...system, { role: 'user', content: prompt }],
  })
}

export function addRun(program: Command): void {
  const command = program
    .command('run')
    .description('stream an answer to a prompt, or chat when there is none')
    .argument('<model>', modelArgument)
    .argument('[prompt]', 'what to answer; a model without a chat template continues it')
    .option('-n, --max-tokens <n>', 'end after so many tokens', integer(1))
    .option('-t, --temperature <x>', '0 is the most likely token', decimal)
    .option('--top-k <n>', 'keep the n most likely tokens', integer(0))
    .option('--top-p <x>', 'keep the tokens that together have this probability', decimal)
    .option('--min-p <x>', 'drop tokens below this fraction of the best', decimal)
    .option('--seed <n>', 'the same seed gives the same answer', integer(0))
    .option('--stop <text...>', 'end before one of these')
    .option('--system <text>', 'what the assistant is told first')
    .option('--raw', 'continue the prompt, even with a chat template')
    .option('--cache-tokens <n>', 'tokens the cache holds', integer(1))
  addEngineOptions(command).action(run)
}
