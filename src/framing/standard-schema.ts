/**
 * The part of Standard Schema that is needed here: an interface that Zod, Valibot, ArkType, Effect and others
 * implement, so that this package needs none of them.
 *
 * @see https://standardschema.dev
 */
import { FramingError } from './errors.ts';
import type { Payload } from './payload.ts';

/** A schema of any library that implements Standard Schema, version 1. */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly '~standard': StandardSchemaV1.Props<Input, Output>;
}

export declare namespace StandardSchemaV1 {
  export interface Props<Input = unknown, Output = Input> {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Result<Output> | Promise<Result<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  }
  export type Result<Output> =
    | { readonly value: Output; readonly issues?: undefined }
    | { readonly issues: readonly Issue[] };
  export interface Issue {
    readonly message: string;
    readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
  }
  /** What may be sent: what the schema takes. */
  export type Input<Schema extends StandardSchemaV1> = NonNullable<Schema['~standard']['types']>['input'];
  /** What is received: what the schema makes of it. */
  export type Output<Schema extends StandardSchemaV1> = NonNullable<Schema['~standard']['types']>['output'];
}

/**
 * Checks what `inner` reads. What is written is not checked: our own side has the compiler, the peer has its schema.
 */
export function schemaPayload<Input, Output>(
  inner: Payload<unknown, unknown>,
  schema: StandardSchemaV1<Input, Output>,
): Payload<Output, Input> {
  const standard = (schema as { '~standard'?: StandardSchemaV1.Props<Input, Output> } | undefined)?.['~standard'];
  if (standard?.version !== 1 || typeof standard.validate !== 'function') {
    throw new FramingError('BAD_OPTION', "this is no Standard Schema: its '~standard' is not of version 1");
  }
  return {
    read(bytes, start, end) {
      const result = standard.validate(inner.read(bytes, start, end));
      if (result instanceof Promise) {
        result.catch(() => {}); // nobody waits for it
        throw new FramingError(
          'SCHEMA',
          `this schema (${standard.vendor}) validates asynchronously; frames can't wait`,
        );
      }
      if (result.issues === undefined) return result.value;
      throw new FramingError('SCHEMA', `a message is not accepted: ${firstOf(result.issues)}`, {
        issues: result.issues,
      });
    },
    write: (message) => inner.write(message),
  };
}

function firstOf(issues: readonly StandardSchemaV1.Issue[]): string {
  const [first] = issues;
  if (first === undefined) return 'no issue is given';
  const path = first.path?.map((part) => String(typeof part === 'object' ? part.key : part)).join('.');
  const more = issues.length > 1 ? ` (and ${issues.length - 1} more)` : '';
  return `${path ? `${path}: ` : ''}${first.message}${more}`;
}
