/**
 * Who is under way at the moment. A Set would do as well, but each time it makes room it leaves a table behind in old
 * memory with whoever was in it: of thousands that come and go every second, the garbage collector would carry many along.
 */
export class Crowd<Member extends { seat: number }> {
  readonly #members: Member[] = []

  get size(): number {
    return this.#members.length
  }

  add(member: Member): void {
    member.seat = this.#members.push(member) - 1
  }

  delete(member: Member): void {
    if (this.#members[member.seat] !== member) return
    const last = this.#members.pop()!
    if (last === member) return
    this.#members[member.seat] = last
    last.seat = member.seat
  }

  /** All of them as they are now, in no order. */
  all(): readonly Member[] {
    return [...this.#members]
  }
}
