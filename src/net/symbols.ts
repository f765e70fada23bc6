/** Members of a socket that its handle uses and nobody else should. */

/** The stream was corked by this turn's first write, not by the user. */
export const kTurnCork: unique symbol = Symbol('turn cork');
/** The sockets of a server. */
export const kSockets: unique symbol = Symbol('sockets');
/** The BoundSocket that a client adopted. */
export const kBound: unique symbol = Symbol('bound');
/** The `onread` option, or null. */
export const kOnRead: unique symbol = Symbol('onread');
/** A write that is not done has a callback of the user's. */
export const kHasWriteCallbacks: unique symbol = Symbol('has write callbacks');
/** The peer's FIN has come. */
export const kOnEnd: unique symbol = Symbol('on end');
/** A connection stands: called by connect.ts. */
export const kAdopt: unique symbol = Symbol('adopt');
/** Bytes of the write in flight, to see progress when the idle timer fires. */
export const kLastWriteBytes: unique symbol = Symbol('last write bytes');
/** The TLS socket whose plain connection this is, if that is the one that users know; or null. */
export const kOuter: unique symbol = Symbol('outer');
/** The attempts to connect that are under way at once, or null. */
export const kRace: unique symbol = Symbol('race');
