/**
 * Makes something of a key and remembers the last: the targets of a publish come one after the other, and all ask for the
 * same.
 */
export function rememberedLast<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  let last: readonly [Key, Value] | undefined
  return key => {
    if (!last || last[0] !== key) last = [key, make(key)]
    return last[1]
  }
}
