import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/seed.ts'],
    // Forks, not threads: a native crash must end one test file, not the run.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
})
