/**
 * Has `instanceof` go by what Node takes for an instance: its own objects and clones are, though a subclass of ours did not
 * make them. Classes that inherit from `Class` keep the usual meaning.
 */
export function brand(Class: object, isInstance: (value: unknown) => boolean): void {
  Object.defineProperty(Class, Symbol.hasInstance, {
    value(this: object, value: unknown): boolean {
      return this === Class ? isInstance(value) : Function.prototype[Symbol.hasInstance].call(this, value);
    },
  });
}
