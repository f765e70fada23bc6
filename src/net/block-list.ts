/**
 * Node's `BlockList`, everywhere as the newest Node has it. It stays Node's own: dgram, structuredClone and `node:net` take
 * no other. Where the running Node lacks methods (before 24.21), a subclass adds them; Node's class itself is left as it
 * is, and with it the clones of a list, which are Node's.
 *
 * Old lists can't forget a rule, so those that stay are added to a new one, whose native part then becomes this list's:
 * clones made before keep what was removed.
 *
 * @see https://nodejs.org/api/net.html#class-netblocklist
 */
import net, { type SocketAddress as NodeSocketAddress } from 'node:net';
import { brand } from './brand.ts';
import { invalidArgType, invalidArgValue } from './errors.ts';
import { isSocketAddress, SocketAddress } from './socket-address.ts';
import { validateInt32, validateString } from './validate.ts';

const NodeBlockList = net.BlockList;
type NodeBlockList = net.BlockList;
type Family = 'ipv4' | 'ipv6';

/** The member that has the native part: what Node itself knows a list by. Missing where the runtime is not Node. */
const kHandle = Object.getOwnPropertySymbols(new NodeBlockList()).find(({ description }) => description === 'kHandle');

type WithHandle = { [kHandle: symbol]: unknown };

/** Whether Node takes it for a list: also one of another realm, a clone, or one of a subclass. */
export function isBlockList(value: unknown): value is NodeBlockList {
  if (NodeBlockList.isBlockList !== undefined) return NodeBlockList.isBlockList(value);
  return kHandle !== undefined && (value as WithHandle | null | undefined)?.[kHandle] !== undefined;
}

/** @throws {ERR_INVALID_ARG_TYPE} */
export function validateBlockList(value: unknown): asserts value is NodeBlockList {
  if (!isBlockList(value)) throw invalidArgType('options.blockList', 'an net.BlockList', value);
}

const PRIVATE_RANGES: readonly string[] = Object.freeze([
  '10.0.0.0/8', // RFC 1918
  '172.16.0.0/12',
  '192.168.0.0/16',
  '127.0.0.0/8', // loopback
  '::1/128',
  '169.254.0.0/16', // link-local
  'fe80::/10',
  'fc00::/7', // unique local, RFC 4193
]);

/** What every supported Node has. */
interface OldBlockList {
  addAddress(address: string | NodeSocketAddress, family?: Family): void;
  addRange(start: string | NodeSocketAddress, end: string | NodeSocketAddress, family?: Family): void;
  addSubnet(network: string | NodeSocketAddress, prefix: number, family?: Family): void;
}
const OldBlockList = NodeBlockList as unknown as new () => OldBlockList;
const ownRules = Object.getOwnPropertyDescriptor(NodeBlockList.prototype, 'rules')?.get as (
  this: OldBlockList,
) => readonly string[];

const CompletedBlockList = class BlockList extends OldBlockList {
  static isBlockList(value: unknown): value is NodeBlockList {
    return isBlockList(value);
  }

  static PRIVATE_RANGES = PRIVATE_RANGES;

  addAddresses(addresses: readonly (string | NodeSocketAddress)[], family: Family = 'ipv4'): void {
    validateArray(addresses, 'addresses');
    validateString(family, 'family');
    const all = addresses.map((address, index) => toAddress(address, family, `addresses[${index}]`));
    for (const address of all) this.addAddress(address);
  }

  override addSubnet(network: string | NodeSocketAddress, prefix: number, family: Family = 'ipv4'): void {
    super.addSubnet(network, prefix + 0, family); // -0 would abort the process
  }

  addCIDR(cidr: string): void {
    this.addSubnet(...parseCidr(cidr));
  }

  addCIDRs(cidrs: readonly string[]): void {
    validateArray(cidrs, 'cidrs');
    const parsed = cidrs.map((cidr, index) => parseCidr(cidr, `cidrs[${index}]`));
    for (const each of parsed) this.addSubnet(...each);
  }

  removeAddress(address: string | NodeSocketAddress, family: Family = 'ipv4'): void {
    const gone = unmapped(toAddress(address, family, 'address').address);
    const rules = ownRules.call(this);
    const left = rules.filter((rule) => unmapped(addressOf(rule)) !== gone);
    if (left.length < rules.length) setRules(this, left);
  }

  removeRange(start: string | NodeSocketAddress, end: string | NodeSocketAddress, family: Family = 'ipv4'): void {
    const from = toAddress(start, family, 'start');
    const to = toAddress(end, family, 'end');
    removeRule(this, `Range: ${version(from)} ${from.address}-${to.address}`);
  }

  removeSubnet(network: string | NodeSocketAddress, prefix: number, family: Family = 'ipv4'): void {
    const of = toAddress(network, family, 'network');
    validateInt32(prefix, 'prefix', 0, of.family === 'ipv4' ? 32 : 128);
    removeRule(this, `Subnet: ${version(of)} ${of.address}/${prefix + 0}`);
  }

  removeCIDR(cidr: string): void {
    this.removeSubnet(...parseCidr(cidr));
  }

  clear(): void {
    setRules(this, []);
  }

  /** The latest first; an address that was added twice is there once. */
  get rules(): readonly string[] {
    const seen = new Set<string>();
    return ownRules.call(this).filter((rule) => {
      const address = unmapped(addressOf(rule));
      if (address === '') return true;
      const isFirst = !seen.has(address);
      seen.add(address);
      return isFirst;
    });
  }

  get size(): number {
    return this.rules.length;
  }

  toJSON(): readonly string[] {
    return this.rules;
  }

  fromJSON(data: string | readonly string[]): void {
    let rules: unknown = data;
    if (typeof data === 'string') rules = JSON.parse(data);
    if (!Array.isArray(rules) || rules.some((rule) => typeof rule !== 'string'))
      throw invalidArgType('data', 'of type string or string[]', rules);
    for (const rule of rules as string[]) addRule(this, rule);
  }
};

brand(CompletedBlockList, isBlockList);

/** Whether the running Node's class lacks nothing; or is not Node's at all, and then stays what it is. */
const isComplete = 'removeAddress' in NodeBlockList.prototype || kHandle === undefined;

/** The members of the newest Node, which the types of an older one lack. */
export interface CompleteBlockList extends NodeBlockList {
  /** Number of rules. */
  readonly size: number;
  addAddresses(addresses: readonly (string | NodeSocketAddress)[], family?: Family): void;
  /** @param cidr such as `10.0.0.0/8` */
  addCIDR(cidr: string): void;
  addCIDRs(cidrs: readonly string[]): void;
  removeAddress(address: string | NodeSocketAddress, family?: Family): void;
  removeRange(start: string | NodeSocketAddress, end: string | NodeSocketAddress, family?: Family): void;
  removeSubnet(network: string | NodeSocketAddress, prefix: number, family?: Family): void;
  removeCIDR(cidr: string): void;
  /** Removes all rules. */
  clear(): void;
}

export type BlockListConstructor = {
  new (): CompleteBlockList;
  prototype: CompleteBlockList;
  /** The private, loopback and link-local networks, for `addCIDRs`. */
  readonly PRIVATE_RANGES: readonly string[];
} & Omit<typeof NodeBlockList, 'prototype'>;

export const BlockList = (isComplete ? NodeBlockList : CompletedBlockList) as unknown as BlockListConstructor;

// ---- rules as text: `Address: IPv4 1.2.3.4`, `Range: IPv6 ::1-::9`, `Subnet: IPv4 10.0.0.0/8` ----

const version = ({ family }: NodeSocketAddress): string => (family === 'ipv4' ? 'IPv4' : 'IPv6');

/** The address of a rule for one, or ''. */
const addressOf = (rule: string): string => /^Address: IPv[46] (.+)$/.exec(rule)?.[1] ?? '';

/** An IPv4 address in IPv6 notation is the IPv4 address. */
const unmapped = (address: string): string => address.replace(/^::ffff:(?=[\d.]+$)/, '');

const IPV4 = String.raw`\d{1,3}(?:\.\d{1,3}){3}`;
const IPV6 = '[0-9a-fA-F:.]{1,45}';
const RULES = [
  { family: 'ipv4', pattern: new RegExp(`(Address|Range|Subnet): IPv4 (${IPV4})(?:-(${IPV4})|/(\\d{1,2}))?`) },
  { family: 'ipv6', pattern: new RegExp(`(Address|Range|Subnet): IPv6 (${IPV6})(?:-(${IPV6})|/(\\d{1,3}))?`) },
] as const;

/** Text that is no rule adds nothing, as with Node. */
function addRule(list: OldBlockList, rule: string): void {
  for (const { family, pattern } of RULES) {
    const [, kind, first, end, prefix] = pattern.exec(rule) ?? [];
    if (first === undefined) continue;
    if (kind === 'Address') list.addAddress(first, family);
    else if (kind === 'Range' && end !== undefined) list.addRange(first, end, family);
    else if (kind === 'Subnet' && prefix !== undefined) list.addSubnet(first, Number(prefix), family);
    return;
  }
}

function removeRule(list: OldBlockList, rule: string): void {
  const rules = [...ownRules.call(list)];
  const at = rules.indexOf(rule);
  if (at < 0) return;
  rules.splice(at, 1);
  setRules(list, rules);
}

/** @param rules the latest first */
function setRules(list: OldBlockList, rules: readonly string[]): void {
  const fresh = new NodeBlockList();
  for (let i = rules.length - 1; i >= 0; i--) addRule(fresh, rules[i] as string);
  const key = kHandle as symbol;
  (list as unknown as WithHandle)[key] = (fresh as unknown as WithHandle)[key];
}

// ---- arguments ----

function validateArray(value: unknown, name: string): asserts value is unknown[] {
  if (!Array.isArray(value)) throw invalidArgType(name, 'an instance of Array', value);
}

function toAddress(address: string | NodeSocketAddress, family: Family, name: string): NodeSocketAddress {
  if (isSocketAddress(address)) return address;
  validateString(address, name);
  validateString(family, 'family');
  return new SocketAddress({ address, family: family as Family });
}

/** `10.0.0.0/8` @returns the arguments of `addSubnet` */
function parseCidr(cidr: string, name = 'cidr'): [network: string, prefix: number, family: Family] {
  validateString(cidr, name);
  const slash = cidr.lastIndexOf('/');
  if (slash < 0) throw invalidArgValue('cidr', cidr, 'must contain a prefix length (e.g. "10.0.0.0/8")');
  const network = cidr.slice(0, slash);
  const text = cidr.slice(slash + 1);
  const prefix = Number.parseInt(text, 10);
  if (`${prefix}` !== text || Number.isNaN(prefix))
    throw invalidArgValue('cidr', cidr, 'prefix length must be a valid integer');
  return [network, prefix, network.includes(':') ? 'ipv6' : 'ipv4'];
}
