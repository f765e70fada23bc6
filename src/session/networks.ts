/** IP addresses as keys to count by, and lists of networks. */
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { badOption } from './errors.ts';

const MAPPED = /^(?:::|(?:0{1,4}:){5})ffff:(?:(\d+\.\d+\.\d+\.\d+)|([\da-f]{1,4}):([\da-f]{1,4}))$/i;

/** IPv4 within IPv6 (RFC 4291, 2.5.5.2), which a socket for both has, is IPv4; in whichever way it is written. */
export function plainAddress(address: string): string {
  const mapped = MAPPED.exec(address);
  if (mapped === null) return address;
  const [, dotted, high, low] = mapped;
  if (dotted !== undefined) return dotted;
  return [high, low]
    .map((group) => Number.parseInt(group as string, 16))
    .flatMap((group) => [group >> 8, group & 255])
    .join('.');
}

/** The /64 of an IPv6 address, as a key: what one customer has. `undefined` for IPv4. */
export function networkOf(address: string): string | undefined {
  if (!isIPv6(address)) return undefined;
  const [head, tail] = (address.split('%')[0] as string).split('::') as [string, string | undefined];
  const first = groupsOf(head);
  const last = tail === undefined ? [] : groupsOf(tail);
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...new Array<number>(Math.max(0, zeros)).fill(0), ...last];
  return groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(':');
}

/** Text of groups as numbers; a trailing IPv4 address is two groups. */
function groupsOf(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a, b, c, d] = group.split('.').map(Number) as [number, number, number, number];
    return [(a << 8) | b, (c << 8) | d];
  });
}

/** Whether an address is in a list. */
export function isIn(list: BlockList, address: string): boolean {
  return list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6');
}

/**
 * A list of addresses and networks: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
 *
 * @throws {MILLRACE_ERR_BAD_OPTION}
 */
export function networkList(name: string, networks: BlockList | readonly string[]): BlockList {
  if (!Array.isArray(networks)) {
    if (typeof (networks as BlockList | undefined)?.check === 'function') return networks as BlockList;
    throw badOption(`${name} is a BlockList or an array of addresses and networks`);
  }
  const list = new BlockList();
  for (const network of networks) {
    const [, address = '', prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(String(network)) ?? [];
    const family = isIPv4(address) ? 'ipv4' : 'ipv6';
    const most = family === 'ipv4' ? 32 : 128;
    if ((family === 'ipv6' && !isIPv6(address)) || Number(prefix ?? most) > most) {
      throw badOption(`${name}: '${String(network)}' is no address and no network`);
    }
    list.addSubnet(address, Number(prefix ?? most), family);
  }
  return list;
}
