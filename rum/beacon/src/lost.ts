import type { Lost, Reason } from "./wire";

/** What was dropped in the page since the last body. */
let lost: Lost = {};

export const lose = (reason: Reason, count = 1): undefined => {
  lost[reason] = (lost[reason] ?? 0) + count;
};

export const takeLost = (): Lost => {
  const taken = lost;
  lost = {};
  return taken;
};
