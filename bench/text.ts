// Inputs: prompts of token ids, and documents in English, Chinese and code. The same seed gives the
// same input to every driver.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** The folder of shared data, or undefined where this machine has none. */
export const sharedFolder = (): string | undefined => {
  const folder = process.env.MILLRACE_SHARED ?? join(root, '..', 'shared')
  return existsSync(folder) ? folder : undefined
}

// mulberry32: small, seeded, good enough to choose words.
const random = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A prompt no other seed shares a prefix with; ordinary tokens only. */
export const prompt = (length: number, seed: number, vocabulary: number): Int32Array => {
  const next = random(seed * 7919 + 1)
  const lowest = vocabulary > 2000 ? 1000 : 260
  const highest = Math.min(vocabulary, 100_000) - 1
  return Int32Array.from({ length }, () => lowest + Math.floor(next() * (highest - lowest)))
}

const englishWords =
  'the of and to in a is that for it was on are as with his they at be this from have or by one ' +
  'had not but what all were when we there can an your which their said if do will each about how ' +
  'up out them then she many some so these would other into has more her two like him see time ' +
  'could no make than first been its who now people my made over did down only way find use may'

const chineseWords =
  '我们 他们 中国 时间 问题 工作 发展 可以 没有 这个 社会 经济 国家 生活 世界 学生 技术 系统 数据 文化 ' +
  '的 是 在 了 和 有 不 人 这 也 对 与 以及 因为 所以 如果 但是 已经 开始 通过 进行 使用 研究 语言 模型 ' +
  '计算 机器 学习 网络 信息 城市 历史 政府 企业 市场 产品 服务 方法 结果 需要 提高 重要 不同 一个 许多'

const generated = (words: string, joint: string, stops: readonly string[]): string => {
  const list = words.split(' ')
  const next = random(1)
  const parts: string[] = []
  for (let size = 0; size < 1_000_000; ) {
    const length = 4 + Math.floor(next() * 12)
    const sentence = Array.from({ length }, () => list[Math.floor(next() * list.length)])
    const line = sentence.join(joint) + (stops[Math.floor(next() * stops.length)] ?? '')
    parts.push(line)
    size += Buffer.byteLength(line)
  }
  return parts.join('')
}

const sources = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|cpp|h|inl)$/.test(name))
    .sort()
    .map((name) => readFileSync(join(folder, name), 'utf8'))

const english = (): string => {
  const file = join(sharedFolder() ?? '', 'data/eval/wikitext2/wiki.test.raw')
  return existsSync(file)
    ? readFileSync(file, 'utf8')
    : generated(englishWords, ' ', ['. ', ', ', '.\n'])
}

const documentLength = 8192

/** Documents of about 8 kB, cut at line ends where there are any. */
export const documents = (kind: 'english' | 'chinese' | 'code'): string[] => {
  const makers = {
    english,
    chinese: () => generated(chineseWords, '', ['，', '。', '！', '。\n']),
    code: () =>
      ['native', 'lib', 'bench', 'test'].flatMap((name) => sources(join(root, name))).join(''),
  }
  const text = makers[kind]()
  const cut: string[] = []
  for (let start = 0; start < text.length; ) {
    const line = text.indexOf('\n', start + documentLength)
    const end = line < 0 || start + documentLength >= text.length ? text.length : line + 1
    cut.push(text.slice(start, end))
    start = end
  }
  return cut
}
