/**
 * What `map` gives, in a list of the same kind from the first call to the last. V8's own gives one of another kind (whose
 * elements may be missing) once whoever calls it is optimized. All that was compiled for the first kind is thrown away
 * then, and compiled anew while a storm of alerts waits for it.
 */
export function mapped<T, R>(list: readonly T[], make: (item: T, index: number) => R): R[] {
  // Most lists have one item; what grows from nothing has room for 17.
  if (list.length === 1) return [make(list[0]!, 0)]
  const made: R[] = []
  for (let index = 0; index < list.length; index++) made.push(make(list[index]!, index))
  return made
}
