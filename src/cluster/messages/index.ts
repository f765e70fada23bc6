/** Messages between workers: see api.ts. */
export * from './api.ts';
export { Bus, PRIMARY } from './bus.ts';
export { MessageError, type MessageErrorData, type MessageReason, messageReasons } from './errors.ts';
export { Hub } from './hub.ts';
export { type MessageLimits, rulesOf as checkLimits } from './limits.ts';
export { joinHub } from './member.ts';
