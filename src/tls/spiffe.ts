/**
 * SPIFFE ids: `spiffe://trust-domain/path`.
 *
 * @see https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md#2-spiffe-identity
 */

const MAX_ID_BYTES = 2048;
const MAX_TRUST_DOMAIN_BYTES = 255;

/** No user, port, query, fragment or escapes: nothing of it can be written in two ways. */
const ID = /^spiffe:\/\/([a-z0-9._-]+)((?:\/[a-zA-Z0-9._-]+)*)$/;

/** Whether it is a well-formed id of a workload, which has a path; an id without one is an authority's. */
export function isSpiffeLeafId(uri: string): boolean {
  if (uri.length > MAX_ID_BYTES) return false;
  const [, trustDomain, path] = ID.exec(uri) ?? [];
  if (!trustDomain || !path || trustDomain.length > MAX_TRUST_DOMAIN_BYTES) return false;
  return !path.split('/').some((segment) => segment === '.' || segment === '..');
}

/** @param id well-formed */
export function trustDomainOf(id: string): string | undefined {
  return ID.exec(id)?.[1];
}
