/** What ends a descriptor channel, and why: one class, and one reason for each cause. docs/errors.md has them all. */

/** Every reason, with what it means in a few words. */
export const channelReasons = {
  BAD_MESSAGE: 'a message that cannot be sent',
  BAD_FRAME: 'what came is not of this protocol',
  MESSAGE_TOO_LARGE: 'a message is larger than the limit',
  LOST_DESCRIPTORS: 'not all descriptors of a message have arrived',
  TRUNCATED: 'the peer ended in the middle of a message',
  PEER_GONE: 'the peer has closed, or its process is gone',
} as const;

export type ChannelReason = keyof typeof channelReasons;

/** The error of everything here. `code` is `MILLRACE_ERR_CHANNEL_` and the reason. */
export class ChannelError extends Error {
  readonly reason: ChannelReason;
  readonly code: `MILLRACE_ERR_CHANNEL_${ChannelReason}`;

  constructor(reason: ChannelReason, message: string, data: { cause?: unknown } = {}) {
    super(message, 'cause' in data ? { cause: data.cause } : undefined);
    this.name = 'ChannelError';
    this.reason = reason;
    this.code = `MILLRACE_ERR_CHANNEL_${reason}`;
  }
}
