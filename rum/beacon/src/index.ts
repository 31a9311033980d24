// In the order that compresses best: modules that resemble each other lie close together.
import type { Consent, Options } from "./options.js";
import { guarded } from "./guard";
import { whenActivated } from "../node_modules/web-vitals/dist/modules/lib/whenActivated.js";
import { allow, session } from "./session";
import { watchVitals } from "./vitals";
import { watchFrames } from "./frames";
import { current, pending } from "./views";
import { configure } from "./settings";
import { drop, flush, later, settle } from "./outbox";
import { watchErrors, note } from "./errors";
import { watchPhases } from "./phases";
import { watchRequests } from "./requests";
import { EARLY_MS, turn, watchRoutes } from "./routes";
import { onBFCacheRestore } from "../node_modules/web-vitals/dist/modules/lib/bfcache.js";

export type { Consent, Options };

let measuring = false;

/** Begin to measure. */
export const start = guarded((options: Options = {}) => {
  configure(options);
  consent(options.consent ?? "on");
});

/** Give, extend or withdraw consent: what has not been sent by then is not sent. */
export const consent = guarded((given: Consent) => {
  if (given == "off" && measuring) drop();
  allow(given);
  if (!session) return;
  if (measuring) pending.add(current());
  else measure();
  later(EARLY_MS);
});

/** Name the current view's route. */
export const route = guarded((name: string) => {
  current().head.route = name;
});

/** A page view that no change of the address shows. */
export const view = guarded((name?: string) => {
  turn("soft-navigation");
  if (name) route(name);
});

/** Report an error that was caught, by a framework's error boundary say. */
export const error = guarded((caught: unknown) => note("error", caught));

const measure = (): void => {
  measuring = true;
  watchErrors();
  watchRequests();
  // A page may be left before the rest is on watch.
  watchPhases();
  // Not capturing: web-vitals has its last word in capturing listeners.
  addEventListener("visibilitychange", flush);
  addEventListener("pagehide", flush);
  addEventListener("online", flush);
  // The rest need not be at once, and start-up stays short: observers also tell what was before them.
  setTimeout(() => {
    // A route may have been named before consent: its view waits for nobody yet.
    pending.add(current());
    settle();
    // Before web-vitals' own listeners, so that values after a return find their view.
    onBFCacheRestore(() => turn("back-forward-cache"));
    whenActivated(() => later(EARLY_MS));
    watchRoutes();
    watchFrames();
    watchVitals();
  });
};
