import { guarded } from "./guard";
import { hex } from "./ids";
import { lose } from "./lost";
import { add } from "./outbox";
import { scrub, scrubText, settings } from "./settings";
import { current } from "./views";
import type { Fault } from "./wire";

/** Different errors per page view. */
const ERRORS = 20;
/** Says only that a ResizeObserver needed another frame. */
const NOISE = /^ResizeObserver loop/;
const OPAQUE = /^Script error\.?$/;

export const note = (kind: Fault["kind"], error: unknown, place: Partial<ErrorEvent> = {}): void => {
  const { name: type, message, stack } = (error ?? {}) as Partial<Error>;
  const msg = scrubText(message ?? place.message ?? error, 500);
  if (NOISE.test(msg)) return lose("noise");
  if (OPAQUE.test(msg) && !stack) kind = "script";
  const stk = stack && scrubText(stack, 3000);
  const key = kind + type + msg + (stk ?? place.filename);
  const { faults, items } = current();
  const known = faults.get(key);
  if (known && items.includes(known)) {
    known.n++;
    return;
  }
  if (!known && faults.size >= ERRORS) return lose("full");
  const src = place.filename && scrub(place.filename);
  const fault = { k: "err", kind, fp: known?.fp ?? hex(4), n: 1, type, msg, stk: known ? undefined : stk, src, ln: place.lineno, col: place.colno } as Fault;
  faults.set(key, fault);
  add(fault);
};

/** What fails in our own file is not the page's failure. */
export const watchErrors = (): void => {
  addEventListener("error", guarded((event: ErrorEvent) => {
    if (!event.filename || event.filename != settings.file) note("error", event.error, event);
  }));
  addEventListener("unhandledrejection", guarded((event: PromiseRejectionEvent) => note("rejection", event.reason)));
};
