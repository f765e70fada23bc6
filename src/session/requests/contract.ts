/**
 * A contract: the methods that one side offers and the other calls, with their schemas, as one object that both sides
 * import. All types come from it: those of the caller's functions and those of the responder's handlers.
 */
import type { StandardSchemaV1 } from '../../framing/index.ts';
import { MAX_DEADLINE_MS } from './envelope.ts';
import { rpcError } from './errors.ts';
import type { CallOptions, CallStream } from './own-call.ts';
import type { Context } from './served-call.ts';

/** A call, an answer. */
export interface RequestMethod {
  readonly kind: 'request';
  /** Of what the caller sends. Without it the method has no input. */
  readonly input?: StandardSchemaV1;
  /** Of the answer. Without it the answer is empty. */
  readonly output?: StandardSchemaV1;
  /** How long a call may take, unless it says otherwise. No limit unless given. */
  readonly deadlineMs?: number;
}

/** A message that nobody answers. */
export interface OnewayMethod {
  readonly kind: 'oneway';
  readonly input?: StandardSchemaV1;
}

/** A call, any number of items in answer. */
export interface StreamMethod {
  readonly kind: 'stream';
  readonly input?: StandardSchemaV1;
  /** Of each item that the responder sends. */
  readonly items: StandardSchemaV1;
  readonly deadlineMs?: number;
}

/** A call with any number of items, one answer. */
export interface UploadMethod {
  readonly kind: 'upload';
  readonly input?: StandardSchemaV1;
  /** Of each item that the caller sends. */
  readonly uploads: StandardSchemaV1;
  readonly output?: StandardSchemaV1;
  readonly deadlineMs?: number;
}

/** Items in both directions. The call is over when the responder's stream ends. */
export interface DuplexMethod {
  readonly kind: 'duplex';
  readonly input?: StandardSchemaV1;
  readonly uploads: StandardSchemaV1;
  readonly items: StandardSchemaV1;
  readonly deadlineMs?: number;
}

export type Method = RequestMethod | OnewayMethod | StreamMethod | UploadMethod | DuplexMethod;
export type Contract = { readonly [name: string]: Method };

// ------------------------------------------------------------------------------------------------------------- types

/** What may be sent: what the schema takes. */
type Sent<Schema> = Schema extends StandardSchemaV1 ? StandardSchemaV1.Input<Schema> : undefined;
/** What is received: what the schema makes of it. */
type Received<Schema> = Schema extends StandardSchemaV1 ? StandardSchemaV1.Output<Schema> : undefined;
type Part<M, Key extends string> = M extends { readonly [key in Key]: infer Schema } ? Schema : undefined;
/** The type of an answer that has no schema is `void`, so that a function without `return` will do. */
// biome-ignore lint/suspicious/noConfusingVoidType: it is what a handler's return type becomes
type Answer<M, Value> = M extends { readonly output: StandardSchemaV1 } ? Value : void;
type Input<M> = Sent<Part<M, 'input'>>;
type InputArguments<M> = undefined extends Input<M> ? [input?: Input<M>] : [input: Input<M>];
type Source<T> = AsyncIterable<T> | Iterable<T>;
type Awaitable<T> = T | Promise<T>;

type ApiMethod<M extends Method> = M extends { kind: 'request' }
  ? (...parameters: [...InputArguments<M>, options?: CallOptions]) => Promise<Answer<M, Received<Part<M, 'output'>>>>
  : M extends { kind: 'oneway' }
    ? (...parameters: [...InputArguments<M>, options?: Pick<CallOptions, 'signal'>]) => Promise<void>
    : M extends { kind: 'stream' }
      ? (...parameters: [...InputArguments<M>, options?: CallOptions]) => CallStream<Received<Part<M, 'items'>>>
      : M extends { kind: 'upload' }
        ? (
            input: Input<M>,
            uploads: Source<Sent<Part<M, 'uploads'>>>,
            options?: CallOptions,
          ) => Promise<Answer<M, Received<Part<M, 'output'>>>>
        : (
            input: Input<M>,
            uploads: Source<Sent<Part<M, 'uploads'>>>,
            options?: CallOptions,
          ) => CallStream<Received<Part<M, 'items'>>>;

/** The caller's side of a contract: a function for each method. */
export type Api<C extends Contract> = { readonly [Name in keyof C]: ApiMethod<C[Name]> };

type Handler<M extends Method> = M extends { kind: 'request' }
  ? (input: Received<Part<M, 'input'>>, context: Context) => Awaitable<Answer<M, Sent<Part<M, 'output'>>>>
  : M extends { kind: 'oneway' }
    ? (input: Received<Part<M, 'input'>>, context: Context) => Awaitable<void>
    : M extends { kind: 'stream' }
      ? (input: Received<Part<M, 'input'>>, context: Context) => Awaitable<Source<Sent<Part<M, 'items'>>>>
      : M extends { kind: 'upload' }
        ? (
            input: Received<Part<M, 'input'>>,
            uploads: AsyncIterableIterator<Received<Part<M, 'uploads'>>>,
            context: Context,
          ) => Awaitable<Answer<M, Sent<Part<M, 'output'>>>>
        : (
            input: Received<Part<M, 'input'>>,
            uploads: AsyncIterableIterator<Received<Part<M, 'uploads'>>>,
            context: Context,
          ) => Awaitable<Source<Sent<Part<M, 'items'>>>>;

/** The responder's side of a contract: a handler for each method. */
export type Handlers<C extends Contract> = { readonly [Name in keyof C]: Handler<C[Name]> };

// ---------------------------------------------------------------------------------------------------------- contracts

/**
 * The contract, checked.
 *
 * @throws {MILLRACE_ERR_BAD_CONTRACT} a kind that doesn't exist, something that is no Standard Schema, a deadline that
 *   isn't one
 */
export function defineContract<const C extends Contract>(contract: C): C {
  checkContract(contract);
  return contract;
}

/**
 * A schema that accepts everything: types without a check, for a peer that is trusted as oneself is. The peer decides
 * what arrives, so where it isn't trusted take a schema that looks.
 */
export function unchecked<T>(): StandardSchemaV1<T> {
  return { '~standard': { version: 1, vendor: 'millrace', validate: (value) => ({ value: value as T }) } };
}

/** Which schemas each kind needs, and which it may have. */
const schemasOf = {
  request: { needs: [], may: ['input', 'output'] },
  oneway: { needs: [], may: ['input'] },
  stream: { needs: ['items'], may: ['input', 'items'] },
  upload: { needs: ['uploads'], may: ['input', 'uploads', 'output'] },
  duplex: { needs: ['uploads', 'items'], may: ['input', 'uploads', 'items'] },
} as const satisfies Record<Method['kind'], { needs: readonly string[]; may: readonly string[] }>;

export function checkContract(contract: Contract): void {
  for (const [name, method] of Object.entries(contract)) {
    const wrong = wrongWith(name, method as Method & Record<string, unknown>);
    if (wrong !== undefined) throw rpcError('BAD_CONTRACT', `method '${name}': ${wrong}`);
  }
}

function wrongWith(name: string, method: Method & Record<string, unknown>): string | undefined {
  // `await api` and returning it from an async function would call it.
  if (name === 'then') return 'an object with this name would be taken for a promise';
  if (!Object.hasOwn(schemasOf, method?.kind)) return `there is no kind '${String(method?.kind)}'`;
  const { needs, may } = schemasOf[method.kind];
  const missing = needs.find((key) => method[key] === undefined);
  if (missing !== undefined) return `a method of kind '${method.kind}' needs '${missing}'`;
  const surplus = Object.keys(method).find((key) => !['kind', 'deadlineMs', ...may].includes(key));
  if (surplus !== undefined) return `a method of kind '${method.kind}' has no '${surplus}'`;
  const notSchema = may.find((key) => method[key] !== undefined && !isSchema(method[key]));
  if (notSchema !== undefined) return `'${notSchema}' is no Standard Schema of version 1`;
  const { deadlineMs } = method as { deadlineMs?: number };
  if (deadlineMs === undefined) return undefined;
  if (method.kind === 'oneway') return 'what nobody answers has no deadline';
  return isDeadline(deadlineMs) ? undefined : `a deadline of ${deadlineMs} ms`;
}

/** Positive, and not longer than a timer can wait; or for ever. */
export function isDeadline(ms: number): boolean {
  return ms === Number.POSITIVE_INFINITY || (ms > 0 && ms <= MAX_DEADLINE_MS);
}

function isSchema(schema: unknown): boolean {
  const standard = (schema as Partial<StandardSchemaV1> | null)?.['~standard'];
  return standard?.version === 1 && typeof standard.validate === 'function';
}
