import { lose } from "./lost";

/** A callback of ours never throws into the page: what fails is counted, and not reported as the page's error. */
export const guarded =
  <A extends unknown[]>(work: (...given: A) => void) =>
  (...given: A): void => {
    try {
      work(...given);
    } catch {
      lose("broken");
    }
  };
