/**
 * `millrace/promises`: as `node:net/promises`, the same object as `net.promises`.
 *
 * @see https://nodejs.org/api/net.html#netpromises-api
 */
import net from './index.ts';

const { promises } = net;

export const { connect, listen, isIP, isIPv4, isIPv6, BlockList, SocketAddress } = promises;

export default promises;
export { promises as 'module.exports' };
