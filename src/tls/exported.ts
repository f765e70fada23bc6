/**
 * The exported object, of which our own code calls `createSecureContext`, as Node's does: programs replace it there, to trust
 * more roots.
 */
import { type ContextOptions, createSecureContext, type SecureContext } from './context.ts';

export const exported: { tls: { createSecureContext(options?: ContextOptions): SecureContext } } = {
  tls: { createSecureContext },
};
