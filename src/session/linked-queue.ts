/**
 * First in, first out, and anything in between can be taken out in constant time: what waits here may be cancelled or
 * acknowledged in any order. (A Set would do, but its head gets slower with each item that was taken from it.)
 */
export interface QueueNode<T> {
  readonly value: T;
  /** `undefined` once it was taken out. */
  queue: LinkedQueue<T> | undefined;
  previous: QueueNode<T> | undefined;
  next: QueueNode<T> | undefined;
}

export class LinkedQueue<T> {
  #first: QueueNode<T> | undefined;
  #last: QueueNode<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): QueueNode<T> | undefined {
    return this.#first;
  }

  push(value: T): QueueNode<T> {
    const node: QueueNode<T> = { value, queue: this, previous: this.#last, next: undefined };
    if (this.#last === undefined) this.#first = node;
    else this.#last.next = node;
    this.#last = node;
    this.#size += 1;
    return node;
  }

  shift(): T | undefined {
    const node = this.#first;
    if (node !== undefined) this.delete(node);
    return node?.value;
  }

  /** @returns whether it was in this queue */
  delete(node: QueueNode<T>): boolean {
    if (node.queue !== this) return false;
    if (node.previous === undefined) this.#first = node.next;
    else node.previous.next = node.next;
    if (node.next === undefined) this.#last = node.previous;
    else node.next.previous = node.previous;
    node.queue = undefined;
    node.previous = undefined;
    node.next = undefined;
    this.#size -= 1;
    return true;
  }

  *[Symbol.iterator](): IterableIterator<T> {
    for (let node = this.#first; node !== undefined; node = node.next) yield node.value;
  }
}
