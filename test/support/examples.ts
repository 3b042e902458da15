// The runnable text of the documentation: every @example of lib/ and every TypeScript block of the
// README, so that a test can execute what a reader would copy.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { publicNames } from './budgets.js'
import { projectRoot, readSources } from './sources.js'

export interface Example {
  where: string // file:line
  code: string
}

const fence = /```(?:ts|typescript)\n([\s\S]*?)```/g

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}

function examplesOfComments(path: string, text: string): Example[] {
  const found: Example[] = []
  for (const comment of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const plain = comment[0].replace(/^ *\/?\*+\/? ?/gm, '')
    for (const [, after = ''] of plain.matchAll(/@example([\s\S]*?)(?=\n@|$)/g)) {
      const fenced = [...after.matchAll(fence)].map(([, code = '']) => code).join('\n')
      found.push({ where: `${path}:${lineOf(text, comment.index)}`, code: fenced || after })
    }
  }
  return found
}

export function readExamples(): Example[] {
  const readme = readFileSync(join(projectRoot, 'README.md'), 'utf8')
  const ofReadme = [...readme.matchAll(fence)].map((match) => ({
    where: `README.md:${lineOf(readme, match.index)}`,
    code: match[1] ?? '',
  }))
  return [
    ...ofReadme,
    ...readSources(['lib'], /\.ts$/).flatMap(({ path, text }) => examplesOfComments(path, text)),
  ]
}

/** A whole program: names are imported, any model file is the one given. */
export function toProgram(example: Example, modelPath: string): string {
  const index = join(projectRoot, 'lib/index.ts')
  const code = example.code
    .replace(/'(?:hf:|builtin:)?[^'\s]*\.gguf'/g, JSON.stringify(modelPath))
    .replace(/from 'millrace'/g, `from ${JSON.stringify(index)}`)
  const used = publicNames(readFileSync(index, 'utf8')).filter(
    (name) => new RegExp(`(?<![.'\\w])${name}\\b`).test(code) && !/ from /.test(code),
  )
  const imports =
    used.length > 0 ? `import { ${used.join(', ')} } from ${JSON.stringify(index)}\n` : ''
  return `${imports}${code}\nexport {}\n`
}
