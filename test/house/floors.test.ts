import { expect, test } from 'vitest'
import { publicNames, readBudgets } from '../support/budgets.js'
import { printGraph, readBreaches } from '../support/floors.js'
import { codeOf } from '../support/sources.js'

const file = (path: string, text: string) => ({ path, text, lines: 1 })

test('no file of the house looks upward or sideways', () => {
  expect(readBreaches()).toEqual([])
})

test('no budget of the house is over its hard limit', () => {
  expect(readBudgets().failures).toEqual([])
})

test('the graph fits on two lines', () => {
  expect(printGraph().split('\n')).toHaveLength(2)
})

test.each([
  ['native/base/a.h', '#include "tensor/dtype.h"', 'looks upward'],
  ['native/text/a.h', '#include "ops/ops.h"', 'looks sideways'],
  ['native/ops/a.h', '#include "text/bpe.h"', 'looks sideways'],
  ['native/engine/a.h', '#include "jobs/quantize.h"', 'looks sideways'],
  ['native/model/a.cpp', '#include <napi.h>', 'only binding sees Node'],
  ['native/model/a.cpp', '#include "ops/cpu/table.h"', 'never names an instruction set'],
  ['native/engine/a.cpp', '#include "model/archs/family.h"', 'never names a family'],
  ['native/base/a.h', '#include "misplaced/a.h"', 'is no floor'],
])('%s with %s is refused: %s', (path, text, reason) => {
  expect(readBreaches([file(path, text)], [])).toEqual([expect.stringContaining(reason)])
})

test.each([
  ['lib/native.ts', "import { Engine } from './engine.js'", 'looks upward'],
  ['lib/chat/template.ts', "import { Session } from '../session.js'", 'looks upward'],
  ['lib/model.ts', "import x from '../build/millrace.node'", 'only lib/native.ts'],
])('%s with %s is refused: %s', (path, text, reason) => {
  expect(readBreaches([], [file(path, text)]).join()).toContain(reason)
})

test('a file sees its own floor and lower ones', () => {
  const native = file('native/engine/a.h', '#include "engine/b.h"\n#include "base/result.h"')
  const lib = file('lib/engine.ts', "import { MillraceError } from './errors.js'")
  expect(readBreaches([native], [lib])).toEqual([])
})

test('comments and strings are no code', () => {
  expect(codeOf('a = "helper" // manager\n/* misc */b').trim().split(/\s+/)).toEqual([
    'a',
    '=',
    'b',
  ])
})

test('public names are counted through renames and types', () => {
  const index = "export { A, type B } from './a.js'\nexport type { C as D } from './c.js'"
  expect(publicNames(index)).toEqual(['A', 'B', 'D'])
})
