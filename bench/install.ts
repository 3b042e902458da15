// Peers are installed on demand, outside the repository: $MILLRACE_BENCH_CACHE or the system's
// folder for temporary files. They are never dependencies.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** Where peers, models and the built limits program are kept. */
export const cacheFolder = (): string => {
  const folder = process.env.MILLRACE_BENCH_CACHE ?? join(tmpdir(), 'millrace-bench')
  mkdirSync(folder, { recursive: true })
  return folder
}

const install = (folder: string, spec: string): void => {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), '{"private":true,"type":"module"}\n')
  console.error(`installing ${spec} into ${folder}`)
  const run = spawnSync('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', spec], {
    cwd: folder,
    env: { ...process.env, NODE_LLAMA_CPP_SKIP_DOWNLOAD: 'true' },
    encoding: 'utf8',
  })
  if (run.status !== 0) throw new Error(`npm install ${spec} failed: ${run.stderr.slice(-400)}`)
}

export interface Peer {
  name: string
  version: string
  /** The file to import, inside the package. */
  entry: string
}

/** The address of a peer's entry file, installing it at its version first. */
export const peerEntry = (peer: Peer): string => {
  const folder = join(cacheFolder(), `${peer.name}-${peer.version}`)
  const entry = join(folder, 'node_modules', peer.name, peer.entry)
  if (!existsSync(entry)) install(folder, `${peer.name}@${peer.version}`)
  return pathToFileURL(entry).href
}
