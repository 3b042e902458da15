import { existsSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  hasShared,
  sharedBytes,
  sharedFolder,
  sharedJson,
  sharedPath,
} from '../../support/shared.js'
import { type TokenizerHandle, textProbe, vocabularyOf } from '../../support/vocabulary.js'

interface GoldenCase {
  text_b64: string
  add_special: boolean
  parse_special: boolean
  ids: (number | [number, number])[]
  decoded_b64?: string
  own_test_file?: boolean
}

const open = (name: string): TokenizerHandle =>
  textProbe.tokenizerCreate(vocabularyOf(sharedBytes(name))).handle

const expand = (ids: GoldenCase['ids']): number[] =>
  ids.flatMap((id) => (typeof id === 'number' ? [id] : Array<number>(id[1]).fill(id[0])))

const goldenNames = hasShared
  ? readdirSync(sharedPath('golden/tokenizer'))
      .filter((name) => name.endsWith('.json.gz'))
      .map((name) => name.replace('.json.gz', ''))
  : []

describe.skipIf(!hasShared)('Tokenizer against the reference vectors', () => {
  it('finds the twelve vocabularies', () => {
    expect(goldenNames).toHaveLength(12)
  })

  for (const name of goldenNames) {
    it(`encodes and decodes every case of ${name} as the reference does`, () => {
      const handle = open(`golden/tokenizer/${name}.vocab.gguf.gz`)
      const { cases } = sharedJson<{ cases: GoldenCase[] }>(`golden/tokenizer/${name}.json.gz`)
      const wrong: string[] = []
      for (const [index, test] of cases.entries()) {
        const text = Buffer.from(test.text_b64, 'base64')
        const ids = expand(test.ids)
        const got = textProbe.tokenizerEncode(handle, text, test.add_special, test.parse_special)
        const label = `case ${index} ${JSON.stringify(text.subarray(0, 60).toString('latin1'))}`
        if (ids.length !== got.length || ids.some((id, i) => id !== got[i]))
          wrong.push(`${label}: ids ${got.slice(0, 12)} instead of ${ids.slice(0, 12)}`)
        if (test.own_test_file) continue // the reference's own tests give ids only
        const decoded =
          test.decoded_b64 === undefined ? text : Buffer.from(test.decoded_b64, 'base64')
        const back = textProbe.tokenizerDecode(handle, Int32Array.from(ids), true, true)
        if (!decoded.equals(back))
          wrong.push(`${label}: decodes to ${JSON.stringify(Buffer.from(back).toString('latin1'))}`)
      }
      expect(wrong).toEqual([])
      expect(cases.length).toBeGreaterThan(200)
    })
  }
})

const vocabularyFolder = sharedFolder ? sharedPath('data/tokenizers/llama.cpp-vocab') : ''
const withVectors =
  vocabularyFolder && existsSync(vocabularyFolder)
    ? readdirSync(vocabularyFolder).filter(
        (name) => name.endsWith('.gguf') && existsSync(`${vocabularyFolder}/${name}.inp`),
      )
    : []

describe.skipIf(withVectors.length === 0)('Tokenizer against the published test vectors', () => {
  for (const name of withVectors) {
    it(`encodes every line of ${name}.inp`, () => {
      const base = `data/tokenizers/llama.cpp-vocab/${name}`
      const handle = open(base)
      const texts = sharedBytes(`${base}.inp`).toString('utf8').split('\n__ggml_vocab_test__\n')
      const lines = sharedBytes(`${base}.out`).toString('utf8').split('\n')
      expect(texts.length).toBeGreaterThan(20)
      for (const [i, text] of texts.entries()) {
        const wanted = (lines[i] ?? '').trim().split(/\s+/).filter(Boolean).map(Number)
        const got = textProbe.tokenizerEncode(handle, Buffer.from(text), false, false)
        expect([...got], JSON.stringify(text)).toEqual(wanted)
      }
    })
  }
})
