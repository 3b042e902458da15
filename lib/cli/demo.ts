// `millrace demo`: what the built-in model can do, streamed. Needs no file and no network.

import type { Command } from 'commander'
import { Engine } from '../engine.js'
import type { GenerateRequest } from '../request.js'

const passage =
  'Mara lives in Oslo. Tino works as a baker. In the bag of Mara there is a red kite. ' +
  'Tino has a dog at home. The favourite food of Mara is soup.'

const story = 'Tell me a story about Tino and a red kite.'
const questions = ['Where does Mara live?', 'Who works as a baker?']

interface Demonstration {
  shows: string
  request: GenerateRequest
}

const demonstrations: Demonstration[] = [
  {
    shows: story,
    request: { messages: [{ role: 'user', content: story }], temperature: 0.6, seed: 4 },
  },
  ...questions.map((question) => ({
    shows: `${passage}\n\n${question}`,
    request: {
      messages: [{ role: 'user' as const, content: `${passage}\n\n${question}` }],
      temperature: 0,
    },
  })),
]

async function demo(): Promise<void> {
  await using engine = await Engine.open('builtin:brook')
  for (const { shows, request } of demonstrations) {
    process.stdout.write(`> ${shows.replaceAll('\n', '\n> ')}\n\n`)
    for await (const { text } of engine.generate({ ...request, maxTokens: 300 })) {
      process.stdout.write(text)
    }
    process.stdout.write('\n\n')
  }
  const { name, quantization, parameters } = engine.model.info
  console.log(
    `${name}, ${(parameters / 1e6).toFixed(1)} million parameters, ${quantization}. ` +
      'Chat with it: npx millrace run builtin:brook',
  )
}

export function addDemo(program: Command): void {
  program
    .command('demo')
    .description('a story and two answers from the built-in model; needs no file and no network')
    .action(demo)
}
