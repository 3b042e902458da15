import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { hasShared, sharedBytes, sharedJson } from '../../support/shared.js'
import { packStrings, textProbe, vocabularyOf } from '../../support/vocabulary.js'

// A vocabulary whose tokens are the 256 bytes, then some longer ones, then two control tokens.
const longer = ['the', ' the', 'END', '<|', '|>', '\n\n', '🙂', '中', '…x', 'ab', 'aba', '\n\nUser']
const byteTexts = Array.from({ length: 256 }, (_, byte) => `<0x${hex(byte)}>`)
const control = ['<s>', '</s>']
const kinds = Int32Array.from([
  ...byteTexts.map(() => 6),
  ...longer.map(() => 1),
  ...control.map(() => 3),
])
const { handle } = textProbe.tokenizerCreate({
  algorithm: 'spm',
  texts: packStrings([...byteTexts, ...longer, ...control]),
  kinds,
  bos: 256 + longer.length,
  eos: 257 + longer.length,
  unk: 0,
})
const controlId = 256 + longer.length

function hex(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0')
}

interface Streamed {
  texts: string[]
  units: number[]
  stopped: boolean
}

function stream(ids: number[], stops: string[], special = false, tokenizer = handle): Streamed {
  const pieces = textProbe.streamText(
    tokenizer,
    Int32Array.from(ids),
    packStrings(stops),
    special,
    false,
  )
  return {
    texts: pieces.map((piece) => Buffer.from(piece.bytes).toString('utf8')),
    units: pieces.map((piece) => piece.units),
    stopped: pieces.some((piece) => piece.stopped),
  }
}

// The naive twin: all bytes at once through the web's decoder, cut at the stop that ends first.
function naive(ids: number[], stops: string[]): { text: string; stopped: boolean } {
  const bytes = Buffer.concat(
    ids.filter((id) => id < controlId).map((id) => textProbe.tokenizerPiece(handle, id)),
  )
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  for (let end = 0; end <= text.length; end++) {
    const ending = stops.filter((stop) => text.slice(0, end).endsWith(stop))
    if (ending.length > 0)
      return { text: text.slice(0, end - Math.max(...ending.map((s) => s.length))), stopped: true }
  }
  return { text, stopped: false }
}

const token = fc.oneof(
  { weight: 3, arbitrary: fc.integer({ min: 256, max: controlId + 1 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 255 }) },
  { weight: 2, arbitrary: fc.constantFrom(0xf0, 0x9f, 0x99, 0x82, 0xe4, 0xb8, 0xad, 0xed, 0xa0) },
  { weight: 2, arbitrary: fc.constantFrom(97, 98, 10, 85, 115) },
)
const stopString = fc.oneof(
  fc.constantFrom('ab', 'aba', 'abab', '\n\n', '\n\nUser', 'END', '🙂', '中', 'the', ' ', '\ufffd'),
  fc.string({ unit: fc.constantFrom('a', 'b', '🙂', '\n'), minLength: 1, maxLength: 5 }),
)

describe('TextStream', () => {
  it('gives the same text as decoding everything at once and cutting it', () => {
    fc.assert(
      fc.property(
        fc.array(token, { maxLength: 60 }),
        fc.array(stopString, { maxLength: 4 }),
        (ids, stops) => {
          const streamed = stream(ids, stops)
          const whole = naive(ids, stops)
          expect(streamed.texts.join('')).toBe(whole.text)
          expect(streamed.stopped).toBe(whole.stopped)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('gives pieces of valid UTF-8 and counts their UTF-16 units', () => {
    fc.assert(
      fc.property(fc.array(token, { maxLength: 40 }), (ids) => {
        const pieces = textProbe.streamText(
          handle,
          Int32Array.from(ids),
          packStrings(['ab']),
          false,
          false,
        )
        for (const piece of pieces) {
          const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(
            piece.bytes,
          )
          expect(piece.units).toBe(text.length)
        }
      }),
    )
  })

  it('never shows text that could still become a stop string', () => {
    const stop = 'abab'
    fc.assert(
      fc.property(fc.array(fc.constantFrom(97, 98), { maxLength: 30 }), (ids) => {
        let shown = ''
        let all = ''
        for (const [i, text] of stream(ids, [stop]).texts.entries()) {
          shown += text
          all += i < ids.length ? String.fromCharCode(ids[i] as number) : ''
          if (i === ids.length || all.includes(stop)) break
          const hidden = all.slice(shown.length)
          expect(stop.startsWith(hidden)).toBe(true)
          for (let n = stop.length - 1; n > hidden.length; n--)
            expect(stop.startsWith(all.slice(-n)) && all.length >= n).toBe(false)
        }
      }),
    )
  })

  it('shows a character when its last byte has come', () => {
    const smile = [...Buffer.from('🙂')]
    expect(stream(smile, []).texts).toEqual(['', '', '', '🙂', ''])
  })

  it('replaces a character that breaks off, at the end too', () => {
    expect(stream([0xf0, 0x9f, 97], []).texts).toEqual(['', '', '\ufffda', ''])
    expect(stream([97, 0xe4], []).texts).toEqual(['a', '', '\ufffd'])
  })

  it('gives no text for control tokens unless asked', () => {
    expect(stream([97, controlId, 98], []).texts.join('')).toBe('ab')
    expect(stream([97, controlId, 98], [], true).texts.join('')).toBe('a<s>b')
  })

  it('drops the leading space of a text that begins with the first token, if asked', () => {
    const { handle: spm } = textProbe.tokenizerCreate({
      algorithm: 'spm',
      texts: packStrings(['<unk>', '<s>', '</s>', '▁Hi', '▁you']),
      kinds: Int32Array.from([2, 3, 3, 1, 1]),
    })
    const text = (atStart: boolean): string =>
      textProbe
        .streamText(spm, Int32Array.from([3, 4]), packStrings([]), false, atStart)
        .map((piece) => Buffer.from(piece.bytes).toString())
        .join('')
    expect(text(true)).toBe('Hi you')
    expect(text(false)).toBe(' Hi you')
  })

  it('refuses an empty stop string and one that is not text', () => {
    const run = (stops: (string | Uint8Array)[]) =>
      textProbe.streamText(handle, Int32Array.from([97]), packStrings(stops), false, false)
    expect(() => run(['a', ''])).toThrow('empty')
    expect(() => run([Uint8Array.from([0xff])])).toThrow('UTF-8')
  })

  it('takes linear time on long answers that nearly match', () => {
    const time = (n: number): number => {
      const ids = Array<number>(n).fill(97)
      const begin = performance.now()
      stream(ids, [`${'a'.repeat(200)}b`])
      return performance.now() - begin
    }
    time(1000)
    expect(time(80_000)).toBeLessThan(20 * time(20_000) + 200)
  })
})

describe.skipIf(!hasShared)('TextStream on the reference vectors', () => {
  for (const name of ['llama-spm', 'llama3', 'qwen2', 'bert-bge'])
    it(`adds up to the decoded text of every case of ${name}`, () => {
      const path = `golden/tokenizer/${name}`
      const tokenizer = textProbe.tokenizerCreate(
        vocabularyOf(sharedBytes(`${path}.vocab.gguf.gz`)),
      ).handle
      const { cases } = sharedJson<{ cases: { ids: (number | [number, number])[] }[] }>(
        `${path}.json.gz`,
      )
      for (const { ids } of cases) {
        const flat = ids.map((id) => (typeof id === 'number' ? id : id[0])).slice(0, 2000)
        const whole = Buffer.concat(flat.map((id) => textProbe.tokenizerPiece(tokenizer, id)))
        const decoded = new TextDecoder('utf-8', { ignoreBOM: true }).decode(whole)
        expect(stream(flat, [], true, tokenizer).texts.join('')).toBe(decoded)
      }
    })
})
