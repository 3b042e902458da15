import fc from 'fast-check'
import { expect, test } from 'vitest'
import { probe } from '../../support/probe.js'

type Waiting = [priority: number, submittedMs: number] // in order of arrival
const { waitingOrder } = probe<{ waitingOrder(waiting: Waiting[]): Int32Array }>()
const interactive = 0
const normal = 1
const batch = 2

test('a higher priority goes first', () => {
  expect([
    ...waitingOrder([
      [batch, 0],
      [normal, 1],
      [interactive, 2],
    ]),
  ]).toEqual([2, 1, 0])
})

test('equal priorities go in order of arrival, also within one millisecond', () => {
  expect([
    ...waitingOrder([
      [normal, 5],
      [normal, 5],
      [normal, 6],
    ]),
  ]).toEqual([0, 1, 2])
})

test('a request that has waited long enough precedes newcomers of higher priority', () => {
  expect([
    ...waitingOrder([
      [batch, 0],
      [interactive, 59_000],
      [interactive, 61_000],
    ]),
  ]).toEqual([1, 0, 2])
  expect([
    ...waitingOrder([
      [normal, 0],
      [interactive, 9_000],
      [interactive, 11_000],
    ]),
  ]).toEqual([1, 0, 2])
})

test('nobody is preceded by requests without end, and the order is total', () => {
  const waiting = fc.array(fc.tuple(fc.nat(2), fc.nat(200_000)), { maxLength: 40 })
  fc.assert(
    fc.property(waiting, (list) => {
      list.sort((a, b) => a[1] - b[1])
      const order = [...waitingOrder(list)]
      expect(order.toSorted((a, b) => a - b)).toEqual(list.map((_, i) => i))
      order.forEach((index, place) => {
        for (const later of order.slice(place + 1)) {
          const [priority = 0, submitted = 0] = list[index] ?? []
          const [laterPriority = 0, laterSubmitted = 0] = list[later] ?? []
          // Who goes first came first, or is of higher priority and came at most a minute later.
          if (index > later) expect(priority).toBeLessThan(laterPriority)
          expect(submitted - laterSubmitted).toBeLessThanOrEqual(60_000)
        }
      })
    }),
  )
})
