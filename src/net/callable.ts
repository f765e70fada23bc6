/**
 * Node's `Socket` and `Server` are functions: they work with and without `new`, and `util.inherits` classes call them on
 * an object of their own. A class can't do that, so the exported constructor is a function that shares its prototype.
 */

/** A constructor that can also be called. */
export interface Callable<T extends object, A extends unknown[]> {
  new (...args: A): T;
  (...args: A): T;
  prototype: T;
}

/** A function that is also a constructor; what it takes and gives is said elsewhere. */
// biome-ignore lint/suspicious/noExplicitAny: TypeScript has no other name for it
type AnyConstructor = ((...args: any[]) => unknown) & { prototype: unknown };

/** What the function does: `self` and `target` are its `this` and `new.target`. */
export type Construct<A extends unknown[]> = (self: unknown, target: AnyConstructor | undefined, args: A) => unknown;

/**
 * @param Class what `new` makes
 * @param setUp makes a foreign object, whose prototype inherits from `Class.prototype`, an instance
 * @param define gives the function, named as programs and stack traces show it
 */
export function callable<T extends object, A extends unknown[]>(
  Class: { new (...args: A): T; prototype: T },
  setUp: (target: T, ...args: A) => void,
  define: (construct: Construct<A>) => AnyConstructor,
): Callable<T, A> {
  const Callable = define((self, target, args) => {
    // The common case first: no subclass.
    if (target === Callable) return new Class(...args);
    if (target !== undefined) return Reflect.construct(Class, args, target);
    if (!(self instanceof Class)) return new Class(...args);
    setUp(self, ...args);
    return undefined;
  });
  Callable.prototype = Class.prototype;
  Object.defineProperty(Class.prototype, 'constructor', { value: Callable, writable: true, configurable: true });
  Object.setPrototypeOf(Callable, Object.getPrototypeOf(Class));
  return Callable as unknown as Callable<T, A>;
}

/**
 * Node fills its prototypes by assignment and with getters that can't be redefined; `for…in` finds them. Ours are made
 * alike: programs copy and wrap what they find. What Node lacks is visible when it is public.
 */
export function describeAsNode(ours: object, node: object): void {
  for (const name of Object.getOwnPropertyNames(ours)) {
    if (name === 'constructor') continue;
    let holder: object | null = node;
    while (holder !== null && !Object.hasOwn(holder, name)) holder = Object.getPrototypeOf(holder);
    const { enumerable = !name.startsWith('_'), configurable = true } =
      (holder && Object.getOwnPropertyDescriptor(holder, name)) ?? {};
    Object.defineProperty(ours, name, { enumerable, configurable });
  }
}
