import { mkdirSync, truncateSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { everyTensor, sampleData, sampleFile } from '../../support/gguf-samples.js'
import { coded, reader, withFolder } from '../../support/model-file.js'
import { hasShared, sharedPath } from '../../support/shared.js'

const open = (path: string) => reader.openModelFile(path, true, false)

describe('opening a file', () => {
  test('gives the same bytes mapped and read', () => {
    withFolder((write) => {
      const path = write('model.gguf', sampleFile())
      const sum = Buffer.concat(sampleData(everyTensor)).reduce((total, byte) => total + byte, 0)
      expect(open(path).checksum).toBe(sum)
      expect(reader.openModelFile(path, false, false)).toEqual(open(path))
    })
  })

  test('names the file in every error about its content', () => {
    withFolder((write) => {
      const path = write('short.gguf', sampleFile().subarray(0, 100))
      expect(() => open(path)).toThrow(coded('bad-file', path))
    })
  })
})

describe('a long opening', () => {
  const mib = 1 << 20

  test('tells how far reading has come, up to all of it', () => {
    withFolder((write) => {
      const path = write('long.gguf', 'GGUF')
      truncateSync(path, 100 * mib)
      const { code, progress } = reader.openUntil(path, false, -1)
      expect(code).toBe('bad-file')
      expect(progress.length).toBeGreaterThan(4)
      expect([...progress]).toEqual([...new Set(progress)].sort((a, b) => a - b))
      expect(progress.at(-1)).toBe(1)
      expect([...reader.openUntil(path, true, -1).progress]).toEqual([1])
    })
  })

  test('ends where nobody wants it any more', () => {
    withFolder((write) => {
      const path = write('long.gguf', 'GGUF')
      truncateSync(path, 100 * mib)
      const { code, message, progress } = reader.openUntil(path, false, 2)
      expect(code).toBe('aborted')
      expect(message).toMatch(/was aborted after \d+ of 104857600 bytes/)
      expect(progress).toHaveLength(2)
    })
  })

  test('of a split model gives each file its part', () => {
    withFolder((write) => {
      const path = write('long-00001-of-00003.gguf', 'GGUF')
      truncateSync(path, 20 * mib)
      const { progress } = reader.openUntil(path, false, -1)
      expect(progress.at(-1)).toBe(0.25)
    })
  })
})

describe('what is no model file', () => {
  const refused = (bytes: Uint8Array | string, code: string, ...words: string[]) =>
    withFolder((write) => {
      const path = write('file.gguf', bytes)
      expect(() => open(path)).toThrow(coded(code, path, ...words))
    })

  test('is not found when it is not there', () => {
    expect(() => open('/no/such/file.gguf')).toThrow(coded('not-found', '/no/such/file.gguf'))
    withFolder((write) => {
      const path = write('file', 'x')
      expect(() => open(join(path, 'below.gguf'))).toThrow(coded('not-found', 'below.gguf'))
    })
    expect(() => open('model.gguf\0.txt')).toThrow(coded('not-found', 'NUL'))
    expect(() => open('')).toThrow(coded('not-found'))
  })

  test('is named: a directory, a device, an empty file', () => {
    withFolder((write) => {
      const folder = join(dirname(write('x', 'x')), 'folder.gguf')
      mkdirSync(folder)
      expect(() => open(folder)).toThrow(coded('bad-file', 'directory'))
    })
    refused('', 'bad-file', 'empty')
  })

  test.skipIf(process.platform === 'win32')('is named: a device', () => {
    expect(() => open('/dev/null')).toThrow(coded('bad-file', 'device'))
  })

  test('is named: a git-LFS pointer', () => {
    const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n'
    refused(pointer, 'bad-file', 'git-LFS pointer')
  })

  test('is named: gzip, zip, zstd, a web page', () => {
    refused(gzipSync(sampleFile()), 'bad-file', 'gzip')
    refused('PK\x03\x04rest', 'bad-file', 'zip', 'PyTorch')
    refused(Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0]), 'bad-file', 'zstd')
    refused('<!DOCTYPE html><title>404</title>', 'bad-file', 'web page')
  })

  test('is named: the formats before GGUF', () => {
    refused('tjgg\x03\0\0\0', 'bad-file', 'ggjt')
    refused('lmgg\x03\0\0\0', 'bad-file', 'ggml')
    refused('fmgg\x03\0\0\0', 'bad-file', 'ggmf')
  })

  test('is named: a safetensors file', () => {
    const header = Buffer.from('{"w":{}}')
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(header.length))
    refused(Buffer.concat([length, header]), 'unsupported', 'safetensors')
  })

  test('is refused plainly when nobody knows it', () => {
    refused('hello', 'bad-file', 'does not start with GGUF')
    refused('G', 'bad-file', 'does not start with GGUF')
  })
})

describe.skipIf(!hasShared)('old and foreign files of the reference data', () => {
  const edge = (name: string) => sharedPath(`data/formats/${name}`)

  test('are each refused for what they are', () => {
    const files: [string, string, string][] = [
      ['gguf-edge/ggml-vocab-ggjt.bin', 'bad-file', 'ggjt'],
      ['gguf-edge/vocab-llama-v1.gguf', 'bad-file', 'version 1'],
      ['safetensors-small/tensor-3d-float32.safetensors', 'unsupported', 'safetensors'],
    ]
    for (const [name, code, word] of files) {
      expect(() => open(edge(name))).toThrow(coded(code, word))
    }
  })

  test('of version 2 are read', () => {
    const { entries } = open(edge('gguf-edge/vocab-falcon-v2.gguf'))
    expect(entries.find(([key]) => key === 'general.architecture')?.[2]).toEqual(
      Buffer.from('falcon'),
    )
  })
})
