/**
 * Node's `Socket` and `Server` are functions: they work with and without `new`, and `util.inherits` classes call them on
 * an object of their own. A class can't do that, so the exported constructor is a function that shares its prototype.
 */

/**
 * @param name of the constructor, as programs and error messages show it
 * @param Class what `new` makes
 * @param setUp makes a foreign object (whose prototype inherits from `Class.prototype`) an instance
 */
export function callable<T extends object, A extends unknown[]>(
  name: string,
  Class: { new (...args: A): T; prototype: T },
  setUp: (target: T, ...args: A) => void,
): { new (...args: A): T; (...args: A): T; prototype: T } {
  function Callable(this: unknown, ...args: A): T | undefined {
    if (new.target !== undefined) {
      // The common case first: no subclass.
      return new.target === (Callable as unknown) ? new Class(...args) : Reflect.construct(Class, args, new.target);
    }
    if (!(this instanceof Class)) return new Class(...args);
    setUp(this, ...args);
    return undefined;
  }
  Object.defineProperty(Callable, 'name', { value: name });
  Callable.prototype = Class.prototype;
  Object.defineProperty(Class.prototype, 'constructor', { value: Callable, writable: true, configurable: true });
  Object.setPrototypeOf(Callable, Object.getPrototypeOf(Class));
  return Callable as unknown as ReturnType<typeof callable<T, A>>;
}
