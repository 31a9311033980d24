import { observe } from "../node_modules/web-vitals/dist/modules/lib/observe.js";
import { guarded } from "./guard";
import { ms } from "./numbers";
import { add, later, settlers } from "./outbox";
import { own, scrub, scrubText } from "./settings";
import type { Script } from "./wire";

interface Run extends PerformanceEntry {
  sourceURL: string;
  sourceFunctionName: string;
  invoker: string;
}
interface Frame extends PerformanceEntry {
  blockingDuration?: number;
  scripts?: Run[];
}

const SCRIPTS = 10;
const RUNS = 200;

/** The latest script runs in long frames: from when to when, whose. */
const runs: [start: number, end: number, own: 0 | 1][] = [];
let scripts = new Map<string, Script>();
let n = 0;
let blk = 0;
let max = 0;

/** Milliseconds of script from `from` to `to`, own and third party. */
export const scriptsBetween = (from: number, to: number): { own?: number; third?: number } => {
  const sums = [0, 0];
  for (const [start, end, ours] of runs) sums[ours]! += Math.max(0, Math.min(end, to) - Math.max(start, from));
  return { own: ms(sums[1]!), third: ms(sums[0]!) };
};

/** Whose a run was, and what it was called. */
export const ran = (run: Run): Pick<Script, "src" | "own" | "fn"> => {
  const src = scrub(run.sourceURL);
  // What invoked a whole script is its address, query and all.
  return { src, own: own(src), fn: scrubText(run.sourceFunctionName || run.invoker, 200) };
};

const seen = (frame: Frame): void => {
  n++;
  blk += frame.blockingDuration ?? frame.duration - 50;
  max = Math.max(max, frame.duration);
  for (const run of frame.scripts ?? []) {
    const made = ran(run);
    const { src, own, fn } = made;
    if (runs.push([run.startTime, run.startTime + run.duration, own]) > RUNS) runs.shift();
    const script = scripts.get(src + fn) ?? { ...made, ms: 0, n: 0 };
    script.n++;
    script.ms = ms(script.ms + run.duration)!;
    scripts.set(src + fn, script);
  }
  later();
};

export const watchFrames = (): void => {
  const take = guarded((frames: Frame[]) => frames.forEach(seen));
  const modern = observe(["long-animation-frame"], take);
  const observer = modern ?? observe(["longtask" as never], take);
  settlers.push(() => {
    take(observer?.takeRecords() ?? []);
    if (!n) return;
    add({
      k: "work", lt: modern ? undefined : 1, n, blk: ms(blk), max: ms(max),
      scripts: [...scripts.values()].sort((a, b) => b.ms - a.ms).slice(0, SCRIPTS),
    } as never); // prettier-ignore
    scripts = new Map();
    n = blk = max = 0;
  });
};
