// `npm run test:emulated`: the operator tables of processors that this machine is not, compared with
// the reference under emulation (qemu-user) by the fuzz target's body.

import { join } from 'node:path'
import { projectRoot } from '../test/support/sources.js'
import { runStep, runSteps } from './steps.js'

const inputs = '400'

const [name, triple] = ['aarch64', 'aarch64-linux-gnu']
const build = join(projectRoot, `build-${name}`)

const configured = runStep({
  name: 'configure',
  command: 'cmake',
  args: [
    ...['-S', '.', '-B', build, '-DMILLRACE_DRIVE=ON', '-DCMAKE_BUILD_TYPE=Release'],
    ...['-DCMAKE_SYSTEM_NAME=Linux', `-DCMAKE_SYSTEM_PROCESSOR=${name}`],
    `-DCMAKE_CXX_COMPILER=${triple}-g++`,
  ],
})
if (!configured) process.exit(1)
runSteps([
  {
    name: 'build',
    command: 'cmake',
    args: ['--build', build, '--target', 'drive-ops', '--parallel', '2'],
  },
  {
    name: `${name} tables`,
    command: `qemu-${name}`,
    args: ['-cpu', 'max', '-L', `/usr/${triple}`, join(build, 'drive-ops'), inputs, 'neon-i8mm'],
  },
])
