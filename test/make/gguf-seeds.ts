// Writes the seed files of the GGUF fuzz target: node --import tsx test/make/gguf-seeds.ts <folder>
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { seedFiles } from '../support/gguf-samples.js'

const folder = process.argv[2]
if (folder === undefined) throw new Error('Expected a folder to write to')
mkdirSync(folder, { recursive: true })
for (const [name, bytes] of Object.entries(seedFiles())) {
  writeFileSync(join(folder, `${name}.gguf`), bytes)
}
