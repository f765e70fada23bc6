/** A thread's own environment, before anything reads it: a copy of the process's, and what `run` was told to add. */
import { isMainThread, workerData } from 'node:worker_threads';
import type { ThreadData } from './protocol.ts';

if (!isMainThread) Object.assign(process.env, (workerData as ThreadData).env);
