import { afterEach, describe, expect, test } from 'vitest'
import { sampleFile } from '../../support/gguf-samples.js'
import { coded, reader, withFolder } from '../../support/model-file.js'

type Fault = Parameters<typeof reader.failFilesWith>[0]

afterEach(() => reader.failFilesWith('none'))

describe('when the operating system refuses', () => {
  const faults: [Fault, boolean, string, string][] = [
    ['open', true, 'io', 'could not open'],
    ['map', true, 'io', 'could not map'],
    ['read', false, 'io', 'could not read'],
    ['shortRead', false, 'io', 'the file ended after 0'],
    ['memory', false, 'out-of-memory', 'could not get'],
  ]

  test.each(faults)('%s (mapped: %s), opening fails with %s and a later try succeeds', (...row) => {
    const [fault, mapped, code, words] = row
    withFolder((write) => {
      const path = write('model.gguf', sampleFile())
      reader.failFilesWith(fault)
      expect(() => reader.openModelFile(path, mapped, false)).toThrow(coded(code, path, words))
      reader.failFilesWith('none')
      expect(reader.openModelFile(path, mapped, false).tensors.length).toBeGreaterThan(0)
    })
  })
})
