/**
 * What others can listen to: the `node:diagnostics_channel`s of sessions. Without a subscriber they cost nothing.
 *
 * | channel | message |
 * |---|---|
 * | `millrace:session:open` | `{ session }` |
 * | `millrace:session:close` | `{ session, reason }` |
 * | `millrace:session:refused` | `{ refusal }` |
 * | `millrace:session:error` | `{ error, session }` |
 */
import { channel } from 'node:diagnostics_channel';

export const opened = channel('millrace:session:open');
export const closed = channel('millrace:session:close');
export const refused = channel('millrace:session:refused');
export const failed = channel('millrace:session:error');
