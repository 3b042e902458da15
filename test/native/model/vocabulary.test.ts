import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type Entry, ggufBytes, type MetadataValue } from '../../../bench/gguf-writer.js'
import { hasShared, sharedBytes, unpackedPath } from '../../support/shared.js'
import { textProbe, vocabularyOf } from '../../support/vocabulary.js'

const folder = mkdtempSync(join(tmpdir(), 'millrace-vocabulary-'))
afterAll(() => rmSync(folder, { recursive: true }))

const strings = (values: (string | Uint8Array)[]): MetadataValue => ({
  type: 'array',
  of: 'string',
  values,
})
const good: Record<string, MetadataValue> = {
  model: { type: 'string', value: 'gpt2' },
  pre: { type: 'string', value: 'qwen2' },
  tokens: strings(['a', 'b', 'ab', '<|im_end|>', Uint8Array.from([0xff, 0])]),
  token_type: { type: 'array', of: 'i32', values: [1, 1, 1, 3, 1] },
  merges: strings(['a b']),
  eos_token_id: { type: 'u32', value: 3 },
}

let files = 0
function open(change: Record<string, MetadataValue | undefined>) {
  const path = join(folder, `${files++}.gguf`)
  const entries: Entry[] = Object.entries({ ...good, ...change })
    .filter((entry): entry is [string, MetadataValue] => entry[1] !== undefined)
    .map(([key, value]) => ({ key: `tokenizer.ggml.${key}`, value }))
  writeFileSync(path, ggufBytes({ entries, tensors: [] }, []))
  return textProbe.tokenizerOpen(path)
}

function failure(change: Record<string, MetadataValue | undefined>): {
  code?: string
  message: string
} {
  try {
    open(change)
  } catch (error) {
    return error as { code?: string; message: string }
  }
  throw new Error('Expected a refusal')
}

describe('read_vocabulary', () => {
  it('reads tokens, merges and ids, whatever bytes the tokens hold', () => {
    const { handle, size, ends } = open({})
    expect(size).toBe(5)
    expect([...ends]).toEqual([3])
    expect([...textProbe.tokenizerEncode(handle, Buffer.from('ab'), false, false)]).toEqual([2])
  })

  it('takes a special id of -1 as none', () => {
    expect(open({ bos_token_id: { type: 'u32', value: 0xffffffff } }).size).toBe(5)
  })

  it('refuses an algorithm that it does not know, with those it does', () => {
    const { code, message } = failure({ model: { type: 'string', value: 't5' } })
    expect(code).toBe('unsupported')
    expect(message).toMatch(/llama, gpt2, gemma4, bert.*"t5"/)
  })

  it('refuses a pre-tokenizer that it does not know, with those it does', () => {
    const { code, message } = failure({ pre: { type: 'string', value: 'gpt-9' } })
    expect(code).toBe('unsupported')
    expect(message).toMatch(/"gpt-9".*qwen2/)
  })

  it.each([
    ['model', undefined, /tokenizer\.ggml\.model/],
    ['tokens', undefined, /tokenizer\.ggml\.tokens/],
    ['tokens', { type: 'array', of: 'i32', values: [1] } as MetadataValue, /tokens/],
    ['merges', undefined, /tokenizer\.ggml\.merges/],
    [
      'token_type',
      { type: 'array', of: 'i32', values: [1] } as MetadataValue,
      /token_type.*5 tokens.*1/,
    ],
    [
      'scores',
      { type: 'array', of: 'f32', values: [1, 2] } as MetadataValue,
      /scores.*5 tokens.*2/,
    ],
    ['eos_token_id', { type: 'u32', value: 5 } as MetadataValue, /eos_token_id.*5 tokens.*5/],
    ['bos_token_id', { type: 'string', value: 'a' } as MetadataValue, /bos_token_id/],
    ['add_bos_token', { type: 'u32', value: 7 } as MetadataValue, /add_bos_token/],
    ['merges', strings(['ab']), /merges\[0\]/],
  ])('refuses a wrong %s and names it', (key, value, message) => {
    const error = failure({ [key]: value })
    expect(error.code).toBe('bad-file')
    expect(error.message).toMatch(message)
  })

  it.skipIf(!hasShared)('reads what the independent reader of the tests reads', () => {
    const text = Buffer.from("The mill's race: 12345 <|im_end|> — größer 中文🙂")
    for (const name of ['qwen2', 'llama-spm', 'bert-bge', 'phi-3']) {
      const path = `golden/tokenizer/${name}.vocab.gguf.gz`
      const native = textProbe.tokenizerOpen(unpackedPath(path))
      const twin = textProbe.tokenizerCreate(vocabularyOf(sharedBytes(path)))
      expect([native.size, native.bos, [...native.ends]]).toEqual([
        twin.size,
        twin.bos,
        [...twin.ends],
      ])
      const encode = (handle: typeof native.handle) =>
        textProbe.tokenizerEncode(handle, text, true, true)
      expect(encode(native.handle)).toEqual(encode(twin.handle))
    }
  })
})
