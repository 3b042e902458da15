import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ChatTemplate, strftime } from '../../../lib/chat/template.js'
import { hasShared, sharedPath } from '../../support/shared.js'

interface Context {
  messages: Record<string, unknown>[]
  add_generation_prompt: boolean
  bos_token: string
  eos_token: string
  tools?: unknown[]
  [variable: string]: unknown
}

const folder = sharedPath('data/templates/minja-goldens')
const read = (name: string) => readFileSync(`${folder}/${name}`, 'utf8')
// The day that Llama's templates name when they know no clock, which is how the goldens were made.
const now = new Date(2024, 6, 26)

describe.skipIf(!hasShared)('the golden templates', () => {
  const names = hasShared ? readdirSync(`${folder}/goldens`) : []
  it('are all there', () => expect(names.length).toBeGreaterThanOrEqual(86))
  it.each(names)('%s comes out byte for byte', (name) => {
    const [, template, context] = /^(.*)-(simple|system|tool_use)\.txt$/.exec(name) ?? []
    const { messages, add_generation_prompt, bos_token, eos_token, tools, ...variables } =
      JSON.parse(read(`contexts/${context}.json`)) as Context
    const source = read(`templates/${template}.jinja`)
    const rendered = new ChatTemplate(source).render({
      messages: source.includes('tool_call.arguments | tojson') ? parsed(messages) : messages,
      addGenerationPrompt: add_generation_prompt,
      bosToken: bos_token,
      eosToken: eos_token,
      ...(tools ? { tools } : {}),
      variables,
      now,
    })
    expect(rendered).toBe(read(`goldens/${name}`))
  })
})

// The goldens' maker gave arguments as objects to templates with exactly this expression, and as the
// JSON text of the context to all others.
function parsed(messages: Record<string, unknown>[]): Record<string, unknown>[] {
  return JSON.parse(JSON.stringify(messages), (key, value) =>
    key === 'arguments' ? JSON.parse(value) : value,
  )
}

interface Unit {
  template: string
  context: Record<string, unknown>
  expected: string
  'python_jinja2_3.1.6_agrees': boolean
}

describe.skipIf(!hasShared)('the unit templates of the library', () => {
  const units: Record<string, Unit> = hasShared
    ? JSON.parse(readFileSync(sharedPath('data/templates/huggingface.js-jinja/unit.json'), 'utf8'))
    : {}
  // What our rewriting must not change.
  it.each(Object.entries(units))('%s', (_, { template, context, expected }) => {
    const revived = JSON.parse(JSON.stringify(context), (_key, value) =>
      value?.__function__ ? new Function(`return ${value.__function__}`)() : value,
    )
    const { messages = [], ...variables } = revived as { messages?: Record<string, unknown>[] }
    const chat = new ChatTemplate(template)
    expect(chat.render({ messages, variables, now: new Date() })).toBe(expected)
  })
})

describe('a chat template', () => {
  const render = (source: string, variables: Record<string, unknown> = {}) =>
    new ChatTemplate(source).render({ messages: [], variables })

  it('takes an undefined list for an empty one', () => {
    expect(render('a{% for x in nothing %}{{ x }}{% endfor %}b')).toBe('ab')
    expect(render('a{% for x in nothing if x %}{{ x }}{% else %}-{% endfor %}b')).toBe('a-b')
  })

  it('selects and rejects by test', () => {
    const items = ['a', 'b', 'c']
    expect(render("{{ items | reject('equalto', 'b') | join(',') }}", { items })).toBe('a,c')
    expect(render("{{ items | select('equalto', 'b') | join(',') }}", { items })).toBe('b')
    expect(render("{{ nothing | select('equalto', 'b') | list | length }}")).toBe('0')
  })

  it('unpacks tuples in a list', () => {
    expect(render('{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}')).toBe('3 7 ')
  })

  it('tells the time it was given', () => {
    const chat = new ChatTemplate("{{ strftime_now('%d %b %Y, %A %H:%M') }}")
    expect(chat.render({ messages: [], now: new Date(2025, 0, 5, 7, 9) })).toBe(
      '05 Jan 2025, Sunday 07:09',
    )
  })

  it('passes arguments of calls in the form that it prints', () => {
    const messages = (given: unknown) => [
      {
        role: 'assistant',
        content: '',
        tool_calls: [{ function: { name: 'f', arguments: given } }],
      },
    ]
    const loop = (print: string) =>
      `{% for m in messages %}{% for c in m.tool_calls or [] %}${print}{% endfor %}{% endfor %}`
    const wantsObject = new ChatTemplate(loop('{{ c.function.arguments | tojson }}'))
    const wantsText = new ChatTemplate(loop('{{ c.function.arguments }}'))
    for (const given of ['{"a": 1}', { a: 1 }]) {
      const render = (chat: ChatTemplate) =>
        chat.render({ messages: chat.withArguments(messages(given)) })
      expect(render(wantsObject)).toBe('{"a": 1}')
      expect(JSON.parse(render(wantsText))).toEqual({ a: 1 })
    }
  })

  it('leaves calls without a function as they are', () => {
    const chat = new ChatTemplate('{{ messages[0].tool_calls | tojson }}')
    for (const one of [{ function: null }, {}, null, 'x']) {
      const messages = chat.withArguments([{ role: 'assistant', tool_calls: [one] }])
      expect(JSON.parse(chat.render({ messages }))).toEqual([one])
    }
  })

  it('refuses ranges that would take all memory', () => {
    expect(render('{{ range(100000) | length }}')).toBe('100000')
    for (const argument of ['100001', '2000000000'])
      expect(() => render(`{% for i in range(${argument}) %}{% endfor %}`)).toThrow(
        expect.objectContaining({ code: 'invalid-argument' }),
      )
  })

  it('refuses with codes', () => {
    expect(() => new ChatTemplate('{% if %}')).toThrow(
      expect.objectContaining({ code: 'unsupported' }),
    )
    expect(() => render("{{ raise_exception('roles must alternate') }}")).toThrow(
      expect.objectContaining({
        code: 'invalid-argument',
        message: 'chat template: roles must alternate',
      }),
    )
  })
})

describe('strftime', () => {
  it('pads as Python does and keeps what it does not know', () => {
    expect(strftime(new Date(2025, 10, 3, 15, 4, 5), '%y%m%e %I%p %S %% %Q')).toBe(
      '2511 3 03PM 05 % %Q',
    )
  })
})
