/** What is put on millrace: all of it, or what MILLRACE_REGISTER names. */

const PARTS = ['net', 'tls', 'https'] as const;

export type Part = (typeof PARTS)[number];

/**
 * Reads `MILLRACE_REGISTER`: names with commas between them. Unset or empty, everything.
 * @throws {MILLRACE_ERR_REGISTER} there is no part of that name
 */
export function partsOf(value: string | undefined): ReadonlySet<Part> {
  const names = (value ?? '').split(',').map((name) => name.trim());
  const given = names.filter((name) => name !== '');
  const unknown = given.find((name) => !(PARTS as readonly string[]).includes(name));
  if (unknown !== undefined) {
    const error = new Error(`MILLRACE_REGISTER has '${unknown}'; there are ${PARTS.join(', ')}`);
    throw Object.assign(error, { code: 'MILLRACE_ERR_REGISTER' });
  }
  return new Set(given.length === 0 ? PARTS : (given as Part[]));
}
