/**
 * The resolve hook in Node's thread for loaders: for Node 20, and 22 before 22.15, where `module.registerHooks` is not
 * yet. Named by import.ts; the facades it answers with run in the program's thread.
 */
import type { ResolveHook } from 'node:module';
import { redirect, type Targets } from './import.ts';

let targets: Targets = new Map();

export function initialize(data: Targets): void {
  targets = data;
}

export const resolve: ResolveHook = (specifier, context, next) =>
  redirect(targets, specifier, context) ?? next(specifier, context);
