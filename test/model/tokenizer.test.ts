// The reference vectors through the public surface: every vocabulary opened as a model file.

import { readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Model } from '../../lib/index.js'
import { hasShared, sharedJson, sharedPath, unpackedPath } from '../support/shared.js'

interface Vector {
  text_b64: string
  add_special: boolean
  parse_special: boolean
  ids: (number | [number, number])[]
  decoded_b64?: string
  own_test_file?: boolean
}

const names = hasShared
  ? readdirSync(sharedPath('golden/tokenizer'))
      .filter((name) => name.endsWith('.json.gz'))
      .map((name) => name.replace('.json.gz', ''))
  : []

describe.skipIf(!hasShared)('Model.tokenize on the reference vectors', () => {
  for (const name of names)
    it(`gives the ids and the text of ${name}`, async () => {
      const path = unpackedPath(`golden/tokenizer/${name}.vocab.gguf.gz`)
      await using model = await Model.open(path, { vocabularyOnly: true })
      const { cases } = sharedJson<{ cases: Vector[] }>(`golden/tokenizer/${name}.json.gz`)
      const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
      for (const [index, vector] of cases.entries()) {
        const text = Buffer.from(vector.text_b64, 'base64')
        const ids = vector.ids.flatMap((id) =>
          typeof id === 'number' ? [id] : Array<number>(id[1]).fill(id[0]),
        )
        const got = model.tokenize(text, {
          addSpecial: vector.add_special,
          parseSpecial: vector.parse_special,
        })
        expect(
          Buffer.compare(Buffer.from(got.buffer), Buffer.from(Int32Array.from(ids).buffer)),
        ).toBe(0)
        if (vector.own_test_file) continue
        const decoded =
          vector.decoded_b64 === undefined ? text : Buffer.from(vector.decoded_b64, 'base64')
        expect(model.detokenize(ids, { special: true }), `case ${index}`).toBe(
          decoder.decode(decoded),
        )
      }
    })
})
