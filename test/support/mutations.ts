// Deterministic damage to files: the same number gives the same damaged bytes.

/** Numbers from 0 to 2^32 - 1: xorshift. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = (Math.imul(seed + 1, 0x9e3779b1) | 1) >>> 0
    for (let i = 0; i < 8; i++) this.next()
  }

  next(): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x >>> 0
    return this.#state
  }

  below(limit: number): number {
    return this.next() % Math.max(1, limit)
  }
}

type Mutation = (bytes: Buffer, header: number, random: Random) => Buffer

const bombs = [0n, 1n, 2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 62n, 2n ** 63n, 2n ** 64n - 1n]

const flipBits: Mutation = (bytes, header, random) => {
  const count = 1 + random.below(8)
  for (let i = 0; i < count; i++) {
    const at = random.below(header)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8))
  }
  return bytes
}

const flipData: Mutation = (bytes, header, random) => {
  for (let i = 0; i < 64; i++)
    bytes[header + random.below(bytes.length - header)] = random.below(256)
  return bytes
}

const overwriteBytes: Mutation = (bytes, header, random) => {
  const at = random.below(header)
  bytes.fill(random.below(256), at, at + 1 + random.below(32))
  return bytes
}

const truncate: Mutation = (bytes, header, random) =>
  bytes.subarray(0, random.below(2) ? random.below(header) : random.below(bytes.length))

const plantBomb: Mutation = (bytes, header, random) => {
  const bomb = bombs[random.below(bombs.length)] ?? 0n
  bytes.writeBigUInt64LE(bomb, random.below(header - 8))
  return bytes
}

const plantSmall: Mutation = (bytes, header, random) => {
  bytes.writeUInt32LE(random.below(300), random.below(header - 4))
  return bytes
}

const cutOut: Mutation = (bytes, header, random) => {
  const at = random.below(header)
  return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(64))])
}

const repeat: Mutation = (bytes, header, random) => {
  const at = random.below(header)
  const end = at + 1 + random.below(64)
  return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)])
}

const swapWords: Mutation = (bytes, header, random) => {
  const [a, b] = [random.below(header - 8), random.below(header - 8)]
  const first = Buffer.from(bytes.subarray(a, a + 8))
  bytes.copy(bytes, a, b, b + 8)
  first.copy(bytes, b)
  return bytes
}

const mutations = [
  flipBits,
  flipData,
  overwriteBytes,
  truncate,
  plantBomb,
  plantSmall,
  cutOut,
  repeat,
  swapWords,
]

/** A damaged copy; `header` is how many bytes at the front are structure rather than data. */
export const mutated = (bytes: Uint8Array, header: number, number: number): Buffer => {
  const mutate = mutations[number % mutations.length] ?? flipBits
  return mutate(Buffer.from(bytes), header, new Random(number))
}
