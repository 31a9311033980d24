import { lose } from "./lost";

const HOUR = 36e5;

/** Milliseconds with one decimal. Clocks set back and sleeping machines give negative and absurd durations. */
export const ms = (value: number, parts = 10): number | undefined =>
  value >= 0 && value <= HOUR ? Math.round(value * parts) / parts : lose("impossible");
