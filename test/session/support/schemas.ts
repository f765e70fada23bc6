/** Schemas by hand, as a library makes them. */
import type { StandardSchemaV1 } from 'millrace/framing';

function schema<In, Out>(
  read: (value: any) => Out | undefined,
  message: string,
  path?: string,
): StandardSchemaV1<In, Out> {
  const validate = (value: unknown): StandardSchemaV1.Result<Out> => {
    const result = read(value);
    return result === undefined ? { issues: [{ message, ...(path ? { path: [path] } : {}) }] } : { value: result };
  };
  return { '~standard': { version: 1, vendor: 'by hand', validate } };
}

export const number = schema<number, number>((value) => (typeof value === 'number' ? value : undefined), 'no number');
export const text = schema<string, string>((value) => (typeof value === 'string' ? value : undefined), 'no text');
/** Text on the wire, a number for who reads it. */
export const decimal = schema<string, number>(
  (value) => (typeof value === 'string' ? Number(value) : undefined),
  'no text',
);
export const numbers = schema<{ a: number; b: number }, { a: number; b: number }>(
  (value) => (typeof value?.a === 'number' && typeof value?.b === 'number' ? value : undefined),
  'no two numbers',
  'a',
);
/** Answers a turn later. */
export const slowNumber: StandardSchemaV1<number> = {
  '~standard': {
    version: 1,
    vendor: 'by hand',
    validate: async (value) => {
      await new Promise(setImmediate);
      return number['~standard'].validate(value);
    },
  },
};
