/**
 * Node's `SocketAddress`, everywhere as the newest Node has it: Node 20 lacks `parse`, and ends the process when a port is
 * text. It stays Node's own class, or a subclass of it.
 *
 * @see https://nodejs.org/api/net.html#class-netsocketaddress
 */
import net, { type SocketAddressInitOptions } from 'node:net';
import { brand } from './brand.ts';
import { validateString } from './validate.ts';

const NodeSocketAddress = net.SocketAddress;
type NodeSocketAddress = net.SocketAddress;

/** Whether Node takes it for an address. */
export function isSocketAddress(value: unknown): value is NodeSocketAddress {
  // Not documented, in every supported Node.
  return (NodeSocketAddress as unknown as { isSocketAddress(value: unknown): boolean }).isSocketAddress(value);
}

/** What every supported Node has. */
const OldSocketAddress = NodeSocketAddress as unknown as new (options: unknown) => NodeSocketAddress;

const CompletedSocketAddress = class SocketAddress extends OldSocketAddress {
  constructor(options: SocketAddressInitOptions = {}) {
    const isObject = typeof options === 'object' && options !== null;
    super(isObject ? { ...options, port: whole(options.port), flowlabel: whole(options.flowlabel) } : options);
  }

  /** `1.2.3.4:80` or `[::1]:80`, with or without the port. */
  static parse(input: string): NodeSocketAddress | undefined {
    validateString(input, 'input');
    if (!URL.canParse(`http://${input}`)) return undefined;
    const { hostname, port } = new URL(`http://${input}`);
    const isIpv6 = hostname.startsWith('[');
    try {
      return new CompletedSocketAddress({
        address: isIpv6 ? hostname.slice(1, -1) : hostname,
        port: Number(port),
        family: isIpv6 ? 'ipv6' : 'ipv4',
      });
    } catch {
      return undefined; // a name
    }
  }
};

brand(CompletedSocketAddress, isSocketAddress);

/** The number that a port or a flow label comes to; what is none is Node's to refuse. */
function whole(value: unknown): number | undefined {
  const isNumeric = typeof value === 'number' || (typeof value === 'string' && value.trim() !== '');
  const number = Number(value);
  return isNumeric && number === number >>> 0 ? number + 0 : (value as undefined);
}

export const SocketAddress: typeof NodeSocketAddress =
  typeof NodeSocketAddress.parse === 'function'
    ? NodeSocketAddress
    : (CompletedSocketAddress as unknown as typeof NodeSocketAddress);
