// The project's own source files: their names, lines, and text without comments and strings.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface SourceFile {
  path: string // relative to the project's root, with slashes
  text: string
  lines: number
}

export const projectRoot = join(import.meta.dirname, '../..')

/** Every tracked or new (not ignored) file below the folders, with one of the extensions. */
export function readSources(folders: string[], extensions: RegExp): SourceFile[] {
  const listed = execFileSync(
    'git',
    ['ls-files', '--cached', '--others', '--exclude-standard', '--', ...folders],
    { cwd: projectRoot, encoding: 'utf8' },
  )
  return listed
    .split('\n')
    .filter((path) => extensions.test(path) && existsSync(join(projectRoot, path)))
    .map((path) => {
      const text = readFileSync(join(projectRoot, path), 'utf8')
      return { path, text, lines: text.split('\n').length - 1 }
    })
}

/** The code alone: comments and the content of string literals are blanked. */
export function codeOf(text: string): string {
  return text.replace(
    /\/\/[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g,
    (match) => match.replace(/[^\n]/g, ' '),
  )
}
