// The public types as an application meets them: checked by `npm run lint -- types`, never run.

import {
  type Completion,
  Engine,
  type EngineOptions,
  type EngineStats,
  type ErrorCode,
  type GenerateRequest,
  type Generation,
  type Message,
  MillraceError,
  Model,
  type ModelInfo,
  type Piece,
  type Score,
  type TokenLogprob,
} from '../../lib/index.js'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Same<A, B>): void => {}

export async function surface(model: Model, engine: Engine, generation: Generation): Promise<void> {
  same<Awaited<typeof generation>, Completion>(true)
  same<Awaited<ReturnType<Generation['text']>>, string>(true)
  same<ReturnType<Engine['generate']>, Generation>(true)
  same<ReturnType<Engine['stats']>, EngineStats>(true)
  same<Awaited<ReturnType<Engine['score']>>, Score>(true)
  same<Awaited<ReturnType<Engine['embed']>>, Float32Array[]>(true)
  same<Model['info'], ModelInfo>(true)
  same<Completion['finishReason'], 'stop' | 'length' | 'tool-calls' | 'abort'>(true)
  same<Completion['logprobs'], TokenLogprob[] | undefined>(true)
  same<NonNullable<EngineOptions['device']>, 'auto' | 'cpu' | 'cuda' | `cuda:${number}`>(true)

  for await (const piece of generation) same<typeof piece, Piece>(true)
  const disposables: AsyncDisposable[] = [model, engine]
  const code: ErrorCode = new MillraceError('closed', '').code
  const messages: Message[] = [
    { role: 'user', content: 'hi' },
    { role: 'user', content: [{ type: 'text', text: 'hi' }] },
  ]
  const request: GenerateRequest = { messages, prompt: Int32Array.of(1), logitBias: { 3: 1 } }
  await Engine.open(model)
  await Engine.open('x.gguf', { cacheType: 'f16' })

  // @ts-expect-error there is no such option
  engine.generate({ prompt: '', maxtokens: 1 })
  // @ts-expect-error a number is no prompt
  engine.generate({ prompt: 3 })
  // @ts-expect-error codes are few
  new MillraceError('nonsense', '')
  // @ts-expect-error only open() makes a model
  new Model()
  // @ts-expect-error only generate() makes a generation
  ;new (null as unknown as typeof Generation)()
  // @ts-expect-error information is read-only
  model.info = {} as ModelInfo

  void [disposables, code, request]
}
