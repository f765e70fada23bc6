/**
 * `instanceof` between millrace's classes and Node's: packages ask `socket instanceof net.Socket`, of whichever `net`
 * they have, to learn whether something is a socket. So each constructor takes the instances of both.
 *
 * Node's own modules ask it for another reason: tls and child_process then hand `socket._handle` to C++, which knows
 * only Node's handles and aborts at any other. They are told the truth, and take a socket of ours as the stream it is.
 * docs/decisions/0019-instanceof.md
 */

/** A function that is also a constructor. */
type Constructor = { readonly prototype: object };

/** ECMA-262, OrdinaryHasInstance. */
const isOrdinaryInstance = Function.prototype[Symbol.hasInstance] as (this: unknown, value: unknown) => boolean;

/**
 * Makes `Own` and `Nodes` take each other's instances; not their subclasses, which inherit this as a static member.
 * @param brand marks what `Own` makes, for all copies of millrace in a process
 */
export function shareInstances(Own: Constructor, Nodes: Constructor, brand: symbol): void {
  Object.defineProperty(Own.prototype, brand, { value: true });
  const isOwn = (value: unknown): boolean => (value as { [brand]?: unknown } | null | undefined)?.[brand] === true;

  define(Own, function hasInstance(this: unknown, value: unknown): boolean {
    if (isOrdinaryInstance.call(this, value)) return true;
    return this === Own && (isOwn(value) || isOrdinaryInstance.call(Nodes, value));
  });
  if (Object.hasOwn(Nodes, Symbol.hasInstance)) return; // another copy's, or somebody else's
  define(Nodes, function hasInstance(this: unknown, value: unknown): boolean {
    if (isOrdinaryInstance.call(this, value)) return true;
    return this === Nodes && isOwn(value) && !isAskedByNode(hasInstance);
  });
}

function define(Class: Constructor, value: (this: unknown, value: unknown) => boolean): void {
  Object.defineProperty(Class, Symbol.hasInstance, { value, configurable: true });
}

/**
 * Whether the caller of `asked` is one of Node's own modules; true also where nobody can tell. Asked only for sockets
 * of ours: Node's pay for a prototype check, as before.
 */
// biome-ignore lint/complexity/noBannedTypes: what Error.captureStackTrace takes
function isAskedByNode(asked: Function): boolean {
  const restoreLimit = override('stackTraceLimit', 1);
  const restorePrepare = override('prepareStackTrace', (_: Error, sites: NodeJS.CallSite[]) => sites);
  try {
    const caller: { stack?: unknown } = {};
    Error.captureStackTrace(caller, asked);
    const [site] = Array.isArray(caller.stack) ? (caller.stack as NodeJS.CallSite[]) : [];
    return site === undefined || site.getFileName()?.startsWith('node:') === true;
  } finally {
    restorePrepare();
    restoreLimit();
  }
}

/** Gives `Error` a property for a moment; without effect where intrinsics are frozen. */
function override(name: 'stackTraceLimit' | 'prepareStackTrace', value: unknown): () => void {
  const before = Object.getOwnPropertyDescriptor(Error, name);
  if (!Reflect.defineProperty(Error, name, { value, writable: true, configurable: true })) return () => {};
  return () => {
    if (before === undefined) Reflect.deleteProperty(Error, name);
    else Reflect.defineProperty(Error, name, before);
  };
}
