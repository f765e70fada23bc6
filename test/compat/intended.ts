const canceled = { before: 22, why: 'a write that was cut off is told ECANCELED, as by newer lines' };
const aborted = {
  why: 'it is destroyed, with its error; the socket of node:net emits the same, and is open afterwards',
};

/**
 * Where millrace means to differ from a Node line older than `before` (from every line without it), and why, by the name of
 * the scenario that shows it. Such a scenario still runs, and its difference is reported but not an error; when there is none
 * any more, the entry has to go.
 */
export const intended: Record<string, { before?: number; why: string }> = {
  'connect with a host that is a number': { before: 22, why: 'the message of newer lines' },
  'maxConnections 0': { before: 21, why: 'Node 21 and later drop every connection, older ones none' },
  'destroy without an error, with writes stuck': canceled,
  'destroy with an error, with writes stuck': canceled,
  'destroy after end, with writes stuck': canceled,
  'a signal aborted with writes stuck': canceled,
  'a signal aborted with writes stuck with a reason': canceled,
  'a socket of an aborted signal': aborted,
  'a socket of an aborted signal with a reason': aborted,
};
