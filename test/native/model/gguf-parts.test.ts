import { describe, expect, test } from 'vitest'
import type { Entry, Header, MetadataValue, TensorInfo } from '../../../bench/gguf-writer.js'
import { sampleFile } from '../../support/gguf-samples.js'
import { coded, reader, withFolder } from '../../support/model-file.js'

const u16 = (value: number): MetadataValue => ({ type: 'u16', value })
const i32 = (value: number): MetadataValue => ({ type: 'i32', value })

const tensors: TensorInfo[] = ['a', 'b', 'c', 'd', 'e'].map((name) => ({
  name,
  type: 'F32',
  shape: [8],
}))

const split = (number: number, count: number, total: number): Entry[] => [
  { key: 'split.no', value: u16(number) },
  { key: 'split.count', value: u16(count) },
  { key: 'split.tensors.count', value: i32(total) },
]

const nameOf = (part: number, count = 3) =>
  `m-${String(part).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.gguf`

const own: Entry = { key: 'general.architecture', value: { type: 'string', value: 'llama' } }

const parts: Header[] = [
  { entries: [own, ...split(0, 3, 5)], tensors: [] },
  { entries: split(1, 3, 5), tensors: tensors.slice(0, 3) },
  { entries: split(2, 3, 5), tensors: tensors.slice(3) },
]

type Write = (name: string, bytes: Uint8Array | string) => string

const writeParts = (write: Write, headers: readonly (Header | undefined)[] = parts): string[] =>
  headers.map((header, index) => (header ? write(nameOf(index + 1), sampleFile(header)) : ''))

const open = (path = '') => reader.openModelFile(path, true, false)

describe('a model in parts', () => {
  test('is one model: metadata of the first part, tensors of all', () => {
    withFolder((write) => {
      const [first] = writeParts(write)
      const model = open(first)
      expect(model.tensors.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'e'])
      expect(model.entries[0]?.[0]).toBe('general.architecture')
      expect(model.sizeBytes).toBe(parts.reduce((sum, part) => sum + sampleFile(part).length, 0))
    })
  })

  test('opens from any of its parts', () => {
    withFolder((write) => {
      const paths = writeParts(write)
      expect(open(paths[2])).toEqual(open(paths[0]))
      expect(reader.openModelFile(paths[1] ?? '', false, false)).toEqual(open(paths[0]))
    })
  })

  test('needs only its first part for the vocabulary', () => {
    withFolder((write) => {
      const [first] = writeParts(write, [parts[0]])
      const shown = reader.openModelFile(first ?? '', true, true)
      expect(shown.entries[0]?.[0]).toBe('general.architecture')
    })
  })

  test('is refused as not found when a part is missing, with the name of that part', () => {
    withFolder((write) => {
      const [first] = writeParts(write, [parts[0], undefined, parts[2]])
      expect(() => open(first)).toThrow(coded('not-found', nameOf(2), 'part 2 of 3'))
    })
  })

  const refused = (headers: readonly Header[], ...words: string[]) =>
    withFolder((write) => {
      const [first] = writeParts(write, headers)
      expect(() => open(first)).toThrow(coded('bad-file', ...words))
    })
  const [one, two, three] = parts as [Header, Header, Header]

  test('is refused when a part says it is another one', () => {
    refused([one, three, two], 'part 2 of 3', 'says part 3 of 3')
    refused([one, two, { ...three, entries: split(2, 4, 5) }], 'says part 3 of 4')
  })

  test('is refused when the parts hold another number of tensors than they say', () => {
    refused([one, two, { ...three, tensors: tensors.slice(3, 4) }], '5 tensors', 'found 4')
  })

  test('is refused when two parts hold a tensor of the same name', () => {
    refused([one, two, { ...three, tensors: tensors.slice(2, 4) }], '"c"', 'two parts')
  })

  test('is refused when a part is damaged, with the number of that part', () => {
    withFolder((write) => {
      const [first] = writeParts(write)
      write(nameOf(3), sampleFile(three).subarray(0, -40))
      expect(() => open(first)).toThrow(coded('bad-file', 'part 3 of 3', 'truncated'))
    })
  })

  test('is refused under a name that does not say which part it is', () => {
    withFolder((write) => {
      const path = write('renamed.gguf', sampleFile(two))
      expect(() => open(path)).toThrow(coded('bad-file', 'part 2', '-00002-of-00003.gguf'))
    })
  })

  test('may not claim an impossible number of parts', () => {
    for (const count of [0, -1, 100000]) {
      const entries: Entry[] = [{ key: 'split.count', value: i32(count) }]
      withFolder((write) => {
        const path = write(nameOf(1), sampleFile({ entries, tensors: [] }))
        expect(() => open(path)).toThrow(coded('bad-file', 'split.count', `found ${count}`))
      })
    }
  })

  test('of one part is a plain file, whatever its name', () => {
    withFolder((write) => {
      const path = write('plain.gguf', sampleFile({ entries: split(0, 1, 5), tensors }))
      expect(open(path).tensors).toHaveLength(5)
    })
  })
})
