/** Looks at what came over the wire with a schema. Unlike those of frames, schemas may be asynchronous here. */
import type { StandardSchemaV1 } from '../../framing/index.ts';
import { type RpcReason, rpcError } from './errors.ts';

/** A hostile input must not make a large answer. */
const MAX_ISSUES = 16;
const MAX_ISSUE_CHARACTERS = 200;

/** One thing that a schema doesn't like, as it crosses the wire in `RpcError.data`. */
export interface AcceptIssue {
  message: string;
  path: (string | number)[];
}

/**
 * @returns what the schema makes of it; without a schema nothing
 * @throws {RpcError} with the first issues as data
 */
export async function accept(
  schema: StandardSchemaV1 | undefined,
  value: unknown,
  reason: RpcReason,
  what: string,
): Promise<unknown> {
  if (schema === undefined) return undefined;
  const result = await schema['~standard'].validate(value);
  if (result.issues === undefined) return result.value;
  const data = result.issues.slice(0, MAX_ISSUES).map(issueOf);
  const first = data[0];
  const where = first === undefined || first.path.length === 0 ? '' : ` at ${first.path.join('.')}`;
  const mayHaveRun = reason !== 'BAD_INPUT';
  throw rpcError(reason, `${what}${where}: ${first?.message ?? 'not accepted'}`, { data, mayHaveRun });
}

function issueOf({ message, path = [] }: StandardSchemaV1.Issue): AcceptIssue {
  const keys = path.slice(0, MAX_ISSUES).map((part) => (typeof part === 'object' ? part.key : part));
  return {
    message: cut(message),
    path: keys.map((key) => (typeof key === 'number' ? key : cut(String(key)))),
  };
}

function cut(text: string): string {
  return text.length > MAX_ISSUE_CHARACTERS ? `${text.slice(0, MAX_ISSUE_CHARACTERS)}…` : text;
}
