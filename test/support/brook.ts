// Whether the built-in model is there: it is not until it is trained to its end.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { projectRoot } from './sources.js'

export const hasBrook = existsSync(join(projectRoot, 'models/brook/brook.gguf'))
