// What a conversation is, and what templates see of it. Pure.

import { invalid, show, unsupported } from '../options.js'

/** A part of a message; only text for now. */
export interface TextPart {
  type: 'text'
  text: string
}

/** A call that the assistant made. `arguments` is JSON text or the object itself. */
export interface ToolCall {
  id?: string
  type?: 'function'
  function: { name: string; arguments: string | Record<string, unknown> }
}

/** One turn of a conversation, in the shape that OpenAI's interface made common. */
export interface Message {
  role: 'system' | 'developer' | 'user' | 'assistant' | 'tool' | (string & {})
  content?: string | TextPart[] | null
  name?: string
  tool_calls?: ToolCall[]
  tool_call_id?: string
}

function textOfPart(part: unknown, name: string): string {
  if (typeof part !== 'object' || part === null || !('type' in part)) {
    throw invalid(name, 'a part { type, text }', part)
  }
  if (part.type !== 'text') {
    throw unsupported(`"${name}.type" ${show(part.type)} is not supported: only "text" is`)
  }
  if (!('text' in part) || typeof part.text !== 'string') {
    throw invalid(`${name}.text`, 'a string', 'text' in part ? part.text : undefined)
  }
  return part.text
}

function contentOf(content: unknown, name: string): string {
  if (content === undefined || content === null) return ''
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) throw invalid(name, 'a string or an array of parts', content)
  return content.map((part, i) => textOfPart(part, `${name}[${i}]`)).join('')
}

/** Checked messages with every content as one string; other fields stay for the template. */
export function plainMessages(messages: unknown): Record<string, unknown>[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw invalid('messages', 'an array of at least one message', messages)
  }
  return messages.map((message, i) => {
    const name = `messages[${i}]`
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      throw invalid(name, 'an object { role, content }', message)
    }
    if (typeof message.role !== 'string' || message.role === '') {
      throw invalid(`${name}.role`, 'a string such as "user"', message.role)
    }
    return { ...message, content: contentOf(message.content, `${name}.content`) }
  })
}
