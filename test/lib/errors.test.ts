import { describe, expect, it } from 'vitest'
import { coded, errorCodes, errorOfNumber, MillraceError } from '../../lib/errors.js'
import { native } from '../../lib/native.js'

describe('error codes', () => {
  it('are the same list, in the same order, as the native ones', () => {
    expect(native.errorCodes()).toEqual([...errorCodes])
  })

  it('turn a native error into a MillraceError and leave others alone', () => {
    const nativeError = Object.assign(new Error('no such thing'), { code: 'not-found' })
    expect(coded(nativeError)).toBeInstanceOf(MillraceError)
    expect(coded(nativeError)).toMatchObject({ code: 'not-found', message: 'no such thing' })
    const foreign = Object.assign(new Error('no'), { code: 'ENOENT' })
    expect(coded(foreign)).toBe(foreign)
    expect(coded(undefined)).toBe(undefined)
  })

  it('are found by number; a number nobody knows is internal', () => {
    expect(errorOfNumber(4, 'x').code).toBe('bad-file')
    expect(errorOfNumber(0, 'x').code).toBe('internal')
    expect(errorOfNumber(99, 'x').code).toBe('internal')
  })
})
