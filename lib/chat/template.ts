// Renders a conversation with the template that a model's file carries. @huggingface/jinja does the
// work (parse and Interpreter rather than its Template, so that the clock is ours); three of Python Jinja2's rules that it lacks are added by rewriting the parsed template:
//   - an undefined value iterates as an empty list (jinja2.Undefined.__iter__)
//   - select, reject, selectattr, rejectattr and map take anything false for empty
//     (`if seq:` in jinja2.filters), and select and reject exist
//   - a tuple in a list can be unpacked by a loop
// Pure: data in, text out.

import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja'
import { MillraceError } from '../errors.js'

/** What a template sees beside the messages. */
export interface TemplateInput {
  messages: Record<string, unknown>[]
  bosToken?: string
  eosToken?: string
  /** Ask for the opening of the assistant's turn; default true. */
  addGenerationPrompt?: boolean
  tools?: unknown[]
  /** What `strftime_now` tells; default: now. */
  now?: Date
  /** Further variables, by the names templates use. */
  variables?: Record<string, unknown>
}

interface Node {
  type: string
  [field: string]: unknown
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as Node).type === 'string'

const identifier = (value: string): Node => ({ type: 'Identifier', value })
const call = (callee: Node, args: unknown[]): Node => ({ type: 'CallExpression', callee, args })
const list = (value: unknown[]): Node => ({ type: 'ArrayLiteral', value })
const filter = (operand: unknown, filter: Node): Node => ({
  type: 'FilterExpression',
  operand,
  filter,
})
const orEmpty = (node: unknown): Node => ({
  type: 'BinaryExpression',
  operator: { type: 'AdditiveBinaryOperator', value: 'or' },
  left: node,
  right: list([]),
})

function filterName(node: Node): string {
  const named = node.filter as Node
  const name = named.type === 'CallExpression' ? (named.callee as Node) : named
  return String(name.value)
}

const wrapName = '__millrace_wrap'
const attribute = 'value'

// A runtime value of the interpreter as plain data.
function plain(item: unknown): unknown {
  if (!isNode(item)) return item
  const { value } = item
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([key, entry]) => [key, plain(entry)]))
  }
  return value
}

const wrap = (items: unknown[]): object[] => items.map((item) => ({ [attribute]: plain(item) }))

// x | reject(test) becomes wrap(x) | rejectattr('value', test) | map(attribute='value').
function rewriteSelect(node: Node, name: string): void {
  const named = node.filter as Node
  const args = named.type === 'CallExpression' ? (named.args as unknown[]) : []
  const wrapped = call(identifier(wrapName), [node.operand])
  const text = { type: 'StringLiteral', value: attribute }
  const chosen = filter(wrapped, call(identifier(`${name}attr`), [text, ...args]))
  node.operand = chosen
  node.filter = call(identifier('map'), [
    {
      type: 'KeywordArgumentExpression',
      key: identifier('attribute'),
      value: { type: 'StringLiteral', value: attribute },
    },
  ])
}

function rewriteFilter(node: Node): void {
  const name = filterName(node)
  if (!/^(select|reject|selectattr|rejectattr|map)$/.test(name)) return
  node.operand = orEmpty(node.operand)
  if (name === 'select' || name === 'reject') rewriteSelect(node, name)
}

function rewriteFor(node: Node): void {
  const iterable = node.iterable as Node
  const empty = (operand: unknown) => filter(operand, call(identifier('default'), [list([])]))
  if (iterable.type === 'SelectExpression') iterable.lhs = empty(iterable.lhs)
  else node.iterable = empty(iterable)
}

function rewriteList(node: Node): void {
  node.value = (node.value as unknown[]).map((item) =>
    isNode(item) && item.type === 'TupleLiteral' ? list(item.value as unknown[]) : item,
  )
}

const rewrites: Record<string, (node: Node) => void> = {
  FilterExpression: rewriteFilter,
  For: rewriteFor,
  ArrayLiteral: rewriteList,
}

function rewrite(value: unknown): void {
  if (Array.isArray(value)) {
    for (const item of value) rewrite(item)
  } else if (value instanceof Map) {
    for (const [key, item] of value) rewrite([key, item])
  } else if (isNode(value)) {
    for (const field of Object.values(value)) rewrite(field)
    rewrites[value.type]?.(value)
  }
}

const two = (n: number) => String(n).padStart(2, '0')
const months =
  'January February March April May June July August September October November December'
const days = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'

/** Python's strftime, the directives that templates use; others stay as they are. */
export function strftime(now: Date, format: string): string {
  const month = months.split(' ')[now.getMonth()] ?? ''
  const day = days.split(' ')[now.getDay()] ?? ''
  const values: Record<string, string> = {
    Y: String(now.getFullYear()),
    y: two(now.getFullYear() % 100),
    m: two(now.getMonth() + 1),
    d: two(now.getDate()),
    e: String(now.getDate()).padStart(2, ' '),
    H: two(now.getHours()),
    I: two(now.getHours() % 12 || 12),
    M: two(now.getMinutes()),
    S: two(now.getSeconds()),
    p: now.getHours() < 12 ? 'AM' : 'PM',
    B: month,
    b: month.slice(0, 3),
    A: day,
    a: day.slice(0, 3),
    '%': '%',
  }
  return format.replace(/%([a-zA-Z%])/g, (all, name: string) => values[name] ?? all)
}

const longestRange = 100_000 // as in Jinja's sandbox

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop]
  const length = Math.max(0, Math.ceil((to - from) / step))
  if (!(length <= longestRange)) {
    throw new Error(`Expected a range of at most ${longestRange} numbers but found ${length}`)
  }
  return Array.from({ length }, (_, i) => from + i * step)
}

function raise(message: unknown): never {
  throw new Error(String(message))
}

const constants = { true: true, false: false, none: null, True: true, False: false, None: null }

/** A chat template, parsed once. */
export class ChatTemplate {
  readonly #program: ReturnType<typeof parse>
  #argumentsAs: 'object' | 'text' | 'given' | undefined

  /** @throws MillraceError `unsupported` when the template cannot be parsed. */
  constructor(source: string) {
    try {
      this.#program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }))
    } catch (error) {
      throw new MillraceError('unsupported', `chat template: ${messageOf(error)}`, { cause: error })
    }
    rewrite(this.#program)
  }

  /** @throws MillraceError `invalid-argument` when the template refuses the messages. */
  render(input: TemplateInput): string {
    try {
      return this.#run(input)
    } catch (error) {
      throw new MillraceError('invalid-argument', `chat template: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }

  #run(input: TemplateInput): string {
    const now = input.now ?? new Date()
    const variables: Record<string, unknown> = {
      ...constants,
      range,
      raise_exception: raise,
      strftime_now: (format: string) => strftime(now, format),
      [wrapName]: wrap,
      bos_token: input.bosToken ?? '',
      eos_token: input.eosToken ?? '',
      ...input.variables,
      messages: input.messages,
      add_generation_prompt: input.addGenerationPrompt ?? true,
    }
    // Absent rather than none: templates ask `tools is defined`.
    if (input.tools !== undefined && input.tools.length > 0) variables.tools = input.tools
    const environment = new Environment()
    for (const [name, value] of Object.entries(variables)) environment.set(name, value)
    return String(new Interpreter(environment).run(this.#program).value)
  }

  /**
   * The messages with the arguments of calls in the form that this template is written for: one that
   * serializes them itself gets objects, one that prints them as they are gets JSON text.
   */
  withArguments(messages: Record<string, unknown>[]): Record<string, unknown>[] {
    const calls = messages.some((message) => Array.isArray(message.tool_calls))
    if (!calls) return messages
    this.#argumentsAs ??= serializesArguments(this.#program) ? 'object' : this.#probe()
    return messages.map((message) =>
      Array.isArray(message.tool_calls)
        ? { ...message, tool_calls: message.tool_calls.map((one) => this.#convert(one)) }
        : message,
    )
  }

  #convert(toolCall: unknown): unknown {
    const called = (toolCall as { function?: { arguments?: unknown } | null } | null)?.function
    if (typeof toolCall !== 'object' || typeof called !== 'object' || called === null)
      return toolCall
    const given = called.arguments
    let converted = given
    if (this.#argumentsAs === 'object' && typeof given === 'string') converted = parsedOr(given)
    if (this.#argumentsAs === 'text' && typeof given === 'object') converted = JSON.stringify(given)
    return { ...toolCall, function: { ...called, arguments: converted } }
  }

  /** `text` when JSON text comes out as JSON and an object does not. */
  #probe(): 'text' | 'given' {
    const shows = (given: unknown): boolean => {
      const called = { name: 'probe', arguments: given }
      const toolCall = { id: 'call_0001', type: 'function', function: called }
      const messages = [
        { role: 'user', content: 'Hello' },
        { role: 'assistant', content: '', tool_calls: [toolCall] },
      ]
      try {
        return this.#run({ messages, addGenerationPrompt: false }).includes('{"needle":1}')
      } catch {
        return false
      }
    }
    return shows('{"needle":1}') && !shows({ needle: 1 }) ? 'text' : 'given'
  }
}

/** Whether `x.arguments | tojson` or `| items` stands anywhere in a parsed template. */
function serializesArguments(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(serializesArguments)
  if (value instanceof Map) return [...value].some(serializesArguments)
  if (!isNode(value)) return false
  if (value.type === 'FilterExpression' && /^(tojson|items)$/.test(filterName(value))) {
    const property = (value.operand as Node).property
    if (isNode(property) && property.value === 'arguments') return true
  }
  return Object.values(value).some(serializesArguments)
}

function parsedOr(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error)
