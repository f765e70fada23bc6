/** Process-wide defaults that Node's command line can change; the values of this process's own Node. */
import net from 'node:net';

export const LEAST_ATTEMPT_TIMEOUT_MS = 10;

export const autoSelectFamilyDefaults = {
  isOn: net.getDefaultAutoSelectFamily(),
  attemptTimeoutMs: net.getDefaultAutoSelectFamilyAttemptTimeout(),
};
