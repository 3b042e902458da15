// The public surface: re-exports only.

export type { Message, TextPart, ToolCall } from './chat/messages.js'
export {
  type EmbedOptions,
  Engine,
  type EngineOptions,
  type EngineStats,
  type Score,
} from './engine.js'
export { type ErrorCode, MillraceError } from './errors.js'
export {
  type Completion,
  Generation,
  type Piece,
  type Timings,
  type TokenLogprob,
  type ToolCallDelta,
  type Usage,
} from './generation.js'
export { type PullOptions, pull } from './hub.js'
export { Model, type ModelInfo, type ModelOptions } from './model.js'
export type { GenerateRequest, Priority, ScoreRequest } from './request.js'
export type { SamplingOptions } from './sampling.js'
