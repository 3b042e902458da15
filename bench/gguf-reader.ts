// Reads the metadata of well-formed GGUF files, to carry tokenizers from one file to another.
import {
  type Entry,
  type MetadataValue,
  type Scalar,
  type ScalarType,
  valueTypes,
} from './gguf-writer.js'

const typeNames = Object.keys(valueTypes) as (keyof typeof valueTypes)[]

class Cursor {
  #position = 8
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  #advance(length: number): number {
    const start = this.#position
    this.#position += length
    return start
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4))
  }

  u64(): number {
    return Number(this.#bytes.readBigUInt64LE(this.#advance(8)))
  }

  text(): Buffer {
    const length = this.u64()
    const start = this.#advance(length)
    return this.#bytes.subarray(start, start + length)
  }

  scalar(type: ScalarType): Scalar {
    const bytes = this.#bytes
    switch (type) {
      case 'u8':
        return bytes.readUInt8(this.#advance(1))
      case 'i8':
        return bytes.readInt8(this.#advance(1))
      case 'u16':
        return bytes.readUInt16LE(this.#advance(2))
      case 'i16':
        return bytes.readInt16LE(this.#advance(2))
      case 'u32':
        return this.u32()
      case 'i32':
        return bytes.readInt32LE(this.#advance(4))
      case 'f32':
        return bytes.readFloatLE(this.#advance(4))
      case 'bool':
        return bytes.readUInt8(this.#advance(1)) !== 0
      case 'string':
        return this.text()
      case 'u64':
        return bytes.readBigUInt64LE(this.#advance(8))
      case 'i64':
        return bytes.readBigInt64LE(this.#advance(8))
      case 'f64':
        return bytes.readDoubleLE(this.#advance(8))
    }
  }

  value(): MetadataValue {
    const type = typeNames[this.u32()]
    if (type !== 'array')
      return { type: type as ScalarType, value: this.scalar(type as ScalarType) }
    const of = typeNames[this.u32()] as ScalarType
    const values = Array.from({ length: this.u64() }, () => this.scalar(of))
    return { type, of, values }
  }
}

/** All metadata of a GGUF file in memory, version 2 or 3; texts as bytes. */
export const readEntries = (file: Buffer): (Entry & { key: string })[] => {
  if (file.subarray(0, 4).toString() !== 'GGUF') throw new Error('Expected a GGUF file')
  const cursor = new Cursor(file)
  cursor.u64()
  return Array.from({ length: cursor.u64() }, () => ({
    key: cursor.text().toString(),
    value: cursor.value(),
  }))
}
