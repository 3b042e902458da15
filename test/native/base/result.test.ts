import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { probe } from '../../support/probe.js'

test('every error code has the kebab-case name of its enumerator', () => {
  const header = readFileSync('native/base/result.h', 'utf8')
  const body = /enum class ErrorCode : int \{([^}]*)\}/.exec(header)?.[1] ?? ''
  const enumerators = [...body.matchAll(/^\s*([a-z_]+)(?: = 0)?,/gm)].map(([, name]) => name)
  expect(enumerators.length).toBeGreaterThan(10)
  const { errorCodes } = probe<{ errorCodes(): string[] }>()
  expect(errorCodes()).toEqual(enumerators.map((name) => name?.replaceAll('_', '-')))
})
