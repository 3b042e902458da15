// When the kernels of a step start as one graph, and with which parameters.

import { describe, expect, test } from 'vitest'
import { tables } from '../../support/ops.js'
import { probe } from '../../support/probe.js'

type Kernel = [kernel: number, parameter: number, blocks?: number]

interface Started {
  how: 'graph' | 'each'
  made: number
  set: number
  ran: Kernel[]
}

const native = probe<{ cudaReplay(steps: Kernel[][], refuses: string): Started[] }>()

const kernels = (count: number, parameter = 0): Kernel[] =>
  Array.from({ length: count }, (_, i) => [i, parameter])

const how = (steps: Kernel[][], refuses = ''): string =>
  native
    .cudaReplay(steps, refuses)
    .map((step) => step.how)
    .join(' ')

const howAndMade = (steps: Kernel[][], refuses = ''): [string, number][] =>
  native.cudaReplay(steps, refuses).map((step) => [step.how, step.made])

describe.skipIf(!tables.includes('cuda'))('the kernels of a step', () => {
  test('become a graph when they come again, and stay one', () => {
    expect(howAndMade([kernels(8), kernels(8), kernels(8)])).toEqual([
      ['each', 0],
      ['graph', 1],
      ['graph', 0],
    ])
  })

  test('run with the parameters of their step, of which only new ones are set', () => {
    const changed = kernels(8, 5)
    changed[3] = [3, 7]
    const steps = [kernels(8, 5), kernels(8, 5), changed, changed, kernels(8, 9), changed]
    const results = native.cudaReplay(steps, '')
    expect(results.map((step) => step.ran)).toEqual(steps)
    expect(results.map((step) => step.set)).toEqual([0, 0, 1, 0, 8, 8])
  })

  test('start one by one where they are few', () => {
    expect(how([kernels(7), kernels(7), kernels(7)])).toBe('each each each')
  })

  test('keep their graph while others come between', () => {
    const [a, b] = [kernels(8), kernels(9)]
    expect(how([a, a, b, a, b, b, a])).toBe('each graph each graph graph graph graph')
  })

  test('become graphs where two kinds of steps take turns', () => {
    const [a, b] = [kernels(8), kernels(9)]
    expect(how([a, b, a, b, a])).toBe('each each graph graph graph')
  })

  test('are others where one has another grid', () => {
    const wider = kernels(8)
    wider[5] = [5, 0, 2]
    expect(how([kernels(8), wider, kernels(8), wider])).toBe('each each graph graph')
  })

  test('keep a graph that was used since the others', () => {
    const first = kernels(8)
    const others = Array.from({ length: 31 }, (_, i) => kernels(9 + i)).flatMap((s) => [s, s])
    const last = kernels(50)
    const steps = [first, first, ...others, first, last, last, first]
    expect(native.cudaReplay(steps, '').at(-1)?.how).toBe('graph')
  })

  test('lose it to the graphs of 32 steps used since', () => {
    const first = kernels(8)
    const others = Array.from({ length: 32 }, (_, i) => kernels(9 + i)).flatMap((s) => [s, s])
    const last = native.cudaReplay([first, first, ...others, first, first], '').slice(-2)
    expect(last.map((step) => step.how)).toEqual(['each', 'graph'])
  })

  test('start one by one where a graph is refused, which is asked for once', () => {
    expect(howAndMade([kernels(8), kernels(8), kernels(8)], 'make')).toEqual([
      ['each', 0],
      ['each', 1],
      ['each', 0],
    ])
  })

  test('start one by one where a graph is refused its start', () => {
    expect(how([kernels(8), kernels(8), kernels(8)], 'start')).toBe('each each each')
  })

  test('start one by one, with their parameters, where a change is refused', () => {
    const steps = [kernels(8), kernels(8), kernels(8, 1), kernels(8, 1)]
    const results = native.cudaReplay(steps, 'set')
    expect(results.map((step) => step.how)).toEqual(['each', 'graph', 'each', 'each'])
    expect(results.map((step) => step.ran)).toEqual(steps)
  })
})
