/**
 * `millrace/http`: Node's http, https and http2 servers on millrace.
 *
 * ```ts
 * import http from 'node:http';
 * import { mount } from 'millrace/http';
 *
 * mount(http.createServer((request, response) => response.end('hello'))).listen(8080);
 * ```
 */
export { mount } from './mount.ts';
