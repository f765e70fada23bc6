// All cases, in the order of the report.
import type { Case } from '../trial.ts';
import { bulk } from './bulk.ts';
import { churn } from './churn.ts';
import { echo } from './echo.ts';
import { fanOut } from './fan-out.ts';
import { idle, neighbours } from './idle.ts';
import { latency } from './latency.ts';
import { programs } from './programs.ts';
import { smallWrites } from './small-writes.ts';
import { tls } from './tls.ts';

export const cases: readonly Case[] = [
  echo,
  fanOut,
  smallWrites,
  bulk,
  churn,
  idle,
  neighbours,
  latency,
  tls,
  programs,
];
