// A small reader of GGUF metadata, independent of the native one: tests read vocabularies with it.

export type GgufValue = number | bigint | boolean | string | GgufStrings | number[]

/** A list of strings as bytes laid end to end, for texts that need not be UTF-8. */
export interface GgufStrings {
  bytes: Buffer
  ends: Int32Array
}

const readers: Record<number, [number, (bytes: Buffer, at: number) => number]> = {
  0: [1, (b, at) => b.readUInt8(at)],
  1: [1, (b, at) => b.readInt8(at)],
  2: [2, (b, at) => b.readUInt16LE(at)],
  3: [2, (b, at) => b.readInt16LE(at)],
  4: [4, (b, at) => b.readUInt32LE(at)],
  5: [4, (b, at) => b.readInt32LE(at)],
  6: [4, (b, at) => b.readFloatLE(at)],
  7: [1, (b, at) => b.readUInt8(at)],
  10: [8, (b, at) => Number(b.readBigUInt64LE(at))],
  11: [8, (b, at) => Number(b.readBigInt64LE(at))],
  12: [8, (b, at) => b.readDoubleLE(at)],
}
const typeBoolean = 7
const typeString = 8
const typeArray = 9

class Reader {
  #at = 0
  readonly #bytes: Buffer
  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  number(type: number): number {
    const reader = readers[type]
    if (!reader) throw new Error(`Expected a type of number but found ${type}`)
    const value = reader[1](this.#bytes, this.#at)
    this.#at += reader[0]
    return value
  }

  slice(): Buffer {
    const length = this.number(10)
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  value(type: number): GgufValue {
    if (type === typeString) return this.slice().toString('utf8')
    if (type === typeBoolean) return this.number(type) !== 0
    if (type !== typeArray) return this.number(type)
    const element = this.number(4)
    const length = this.number(10)
    if (element !== typeString) return Array.from({ length }, () => this.number(element))
    const parts = Array.from({ length }, () => this.slice())
    const ends = new Int32Array(length)
    let end = 0
    for (const [i, part] of parts.entries()) {
      end += part.length
      ends[i] = end
    }
    return { bytes: Buffer.concat(parts), ends }
  }
}

/** The metadata of a GGUF file, version 2 or 3. */
export function readGgufMetadata(bytes: Buffer): Map<string, GgufValue> {
  const reader = new Reader(bytes)
  const [magic, version] = [reader.number(4), reader.number(4)]
  if (magic !== 0x46554747 || version < 2) throw new Error('Expected a GGUF file of version 2 or 3')
  reader.number(10)
  const count = reader.number(10)
  const out = new Map<string, GgufValue>()
  for (let i = 0; i < count; i++) {
    const key = reader.slice().toString('utf8')
    out.set(key, reader.value(reader.number(4)))
  }
  return out
}
