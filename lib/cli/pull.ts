// `millrace pull hf:owner/repo[:file]`: fetches a model into the cache.

import type { Command } from 'commander'
import { pull } from '../hub.js'
import { bytes, given } from './arguments.js'

interface Bar {
  update(loadedBytes: number, totalBytes: number, file: string): void
  stop(): void
}

async function openBar(): Promise<Bar> {
  // Only a terminal gets a bar; a log gets the result.
  if (!process.stderr.isTTY) return { update: () => {}, stop: () => {} }
  const { default: progress } = await import('cli-progress')
  const bar = new progress.SingleBar({
    format: '{bar} {percentage}% {loaded} of {all} {file}',
    stream: process.stderr,
    hideCursor: true,
  })
  bar.start(1, 0, { loaded: '', all: '', file: '' })
  return {
    update: (loadedBytes, totalBytes, file) => {
      bar.setTotal(Math.max(totalBytes, 1))
      bar.update(loadedBytes, { loaded: bytes(loadedBytes), all: bytes(totalBytes), file })
    },
    stop: () => bar.stop(),
  }
}

async function pullCommand(source: string, options: { cache?: string }): Promise<void> {
  const controller = new AbortController()
  const stop = () => controller.abort()
  process.once('SIGINT', stop)
  const bar = await openBar()
  try {
    const path = await pull(source, {
      ...given({ cacheFolder: options.cache }),
      signal: controller.signal,
      onProgress: ({ loadedBytes, totalBytes, file }) => bar.update(loadedBytes, totalBytes, file),
    })
    bar.stop()
    console.log(path)
  } finally {
    bar.stop()
    process.removeListener('SIGINT', stop)
  }
}

export function addPull(program: Command): void {
  program
    .command('pull')
    .description('fetch a model; an interrupted download goes on where it stopped')
    .argument('<source>', 'hf:owner/repo, or hf:owner/repo:file-or-quantization')
    .option('--cache <folder>', 'where models are kept')
    .action(pullCommand)
}
