/**
 * What `map` gives, in a list of the same kind from the first call to the last. V8's own gives one of another kind (whose
 * elements may be missing) once whoever calls it is optimized. All that was compiled for the first kind is thrown away
 * then, and compiled anew while a storm of alerts waits for it.
 */
export function mapped<T, R>(list: readonly T[], make: (item: T, index: number) => R): R[] {
  const made: R[] = []
  for (let index = 0; index < list.length; index++) made.push(make(list[index]!, index))
  return made
}
