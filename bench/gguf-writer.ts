// Writes GGUF files without the library, so that tests and benches do not check the reader against
// itself. Everything can be stated wrongly on purpose: counts, offsets, types, versions.

/** Name, number in the file, values per block and bytes per block of every element type written. */
export const elementTypes = {
  F32: { id: 0, values: 1, bytes: 4 },
  F16: { id: 1, values: 1, bytes: 2 },
  Q4_0: { id: 2, values: 32, bytes: 18 },
  Q4_1: { id: 3, values: 32, bytes: 20 },
  Q5_0: { id: 6, values: 32, bytes: 22 },
  Q5_1: { id: 7, values: 32, bytes: 24 },
  Q8_0: { id: 8, values: 32, bytes: 34 },
  Q2_K: { id: 10, values: 256, bytes: 84 },
  Q3_K: { id: 11, values: 256, bytes: 110 },
  Q4_K: { id: 12, values: 256, bytes: 144 },
  Q5_K: { id: 13, values: 256, bytes: 176 },
  Q6_K: { id: 14, values: 256, bytes: 210 },
  IQ4_NL: { id: 20, values: 32, bytes: 18 },
  IQ4_XS: { id: 23, values: 256, bytes: 136 },
  BF16: { id: 30, values: 1, bytes: 2 },
  MXFP4: { id: 39, values: 32, bytes: 17 },
} as const

export type ElementType = keyof typeof elementTypes

export const valueTypes = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const

export type ScalarType = Exclude<keyof typeof valueTypes, 'array'>
export type Scalar = number | bigint | boolean | string | Uint8Array

export type MetadataValue =
  | { type: ScalarType; value: Scalar }
  | { type: 'array'; of: ScalarType; values: readonly Scalar[] }

export interface Entry {
  key: string | Uint8Array
  value: MetadataValue
}

/** `offset` and `typeId` are taken from the order and the type unless given. */
export interface TensorInfo {
  name: string | Uint8Array
  type: ElementType
  shape: readonly (number | bigint)[]
  offset?: number | bigint
  typeId?: number
}

export interface Header {
  version?: number
  alignment?: number
  entries: readonly Entry[]
  tensors: readonly TensorInfo[]
  entryCount?: number | bigint
  tensorCount?: number | bigint
}

const widths: Record<Exclude<ScalarType, 'string'>, number> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
}

const numberBytes = (type: Exclude<ScalarType, 'string'>, value: Scalar): Buffer => {
  const out = Buffer.alloc(widths[type])
  const number = Number(value)
  switch (type) {
    case 'u8':
    case 'bool':
      out.writeUInt8(number)
      break
    case 'i8':
      out.writeInt8(number)
      break
    case 'u16':
      out.writeUInt16LE(number)
      break
    case 'i16':
      out.writeInt16LE(number)
      break
    case 'u32':
      out.writeUInt32LE(number)
      break
    case 'i32':
      out.writeInt32LE(number)
      break
    case 'f32':
      out.writeFloatLE(number)
      break
    case 'f64':
      out.writeDoubleLE(number)
      break
    case 'u64':
      out.writeBigUInt64LE(BigInt(value as number | bigint))
      break
    case 'i64':
      out.writeBigInt64LE(BigInt(value as number | bigint))
  }
  return out
}

const u32 = (value: number): Buffer => numberBytes('u32', value)
const u64 = (value: number | bigint): Buffer => numberBytes('u64', value)

const textBytes = (text: string | Uint8Array): Buffer => {
  const bytes = Buffer.from(text as Uint8Array)
  return Buffer.concat([u64(bytes.length), bytes])
}

const scalarBytes = (type: ScalarType, value: Scalar): Buffer =>
  type === 'string' ? textBytes(value as string | Uint8Array) : numberBytes(type, value)

/** One key with its value, as it lies in the file. */
export const entryBytes = ({ key, value }: Entry): Buffer => {
  const head = [textBytes(key), u32(valueTypes[value.type])]
  if (value.type !== 'array') return Buffer.concat([...head, scalarBytes(value.type, value.value)])
  const items = value.values.map((item) => scalarBytes(value.of, item))
  return Buffer.concat([...head, u32(valueTypes[value.of]), u64(value.values.length), ...items])
}

/** Bytes of a tensor's data. */
export const tensorBytes = ({ type, shape }: TensorInfo): number => {
  const count = shape.reduce<number>((product, extent) => product * Number(extent), 1)
  return (count / elementTypes[type].values) * elementTypes[type].bytes
}

export const padded = (length: number, alignment = 32): number =>
  Math.ceil(length / alignment) * alignment

/** Where the tensors begin, counted from the start of the data; one after the other. */
export const tensorOffsets = (tensors: readonly TensorInfo[], alignment = 32): number[] => {
  let end = 0
  return tensors.map((tensor) => {
    const start = end
    end += padded(tensorBytes(tensor), alignment)
    return start
  })
}

/** Everything before the data, padded to the alignment. */
export const headerBytes = (header: Header): Buffer => {
  const { version = 3, alignment = 32, entries, tensors } = header
  const offsets = tensorOffsets(tensors, alignment)
  const pieces = [
    Buffer.from('GGUF'),
    u32(version),
    u64(header.tensorCount ?? tensors.length),
    u64(header.entryCount ?? entries.length),
    ...entries.map(entryBytes),
    ...tensors.flatMap((tensor, index) => [
      textBytes(tensor.name),
      u32(tensor.shape.length),
      ...tensor.shape.map(u64),
      u32(tensor.typeId ?? elementTypes[tensor.type].id),
      u64(tensor.offset ?? offsets[index] ?? 0),
    ]),
  ]
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
  return Buffer.concat([...pieces, Buffer.alloc(padded(length, alignment) - length)])
}

/** A whole file; tensors without data are zero. */
export const ggufBytes = (header: Header, data: readonly (Uint8Array | undefined)[] = []): Buffer =>
  Buffer.concat([
    headerBytes(header),
    ...header.tensors.map((tensor, index) => {
      const out = Buffer.alloc(padded(tensorBytes(tensor), header.alignment))
      out.set(data[index] ?? [])
      return out
    }),
  ])
