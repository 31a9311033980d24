import { ms } from "./numbers";
import { add, settlers } from "./outbox";
import { hidden, load, type View, views } from "./views";

/** A phase that has not ended, or did not happen, is left out. */
const between = (start: number, end: number): number | undefined => (end && start ? ms(end - start) : undefined);

/** Once, in the first body after the load event; or what is known when the user leaves before that: those are the slow ones. */
export const watchPhases = (): void => {
  let view: View | undefined;
  let done = false;
  settlers.push(() => {
    const entry = load();
    view ??= views[0];
    if (done || !entry || !(entry.loadEventEnd || hidden())) return;
    done = true;
    add({
      k: "load",
      red: between(entry.redirectStart, entry.redirectEnd),
      dns: between(entry.domainLookupStart, entry.domainLookupEnd),
      tcp: between(entry.connectStart, entry.secureConnectionStart || entry.connectEnd),
      tls: between(entry.secureConnectionStart, entry.connectEnd),
      req: between(entry.requestStart, entry.responseStart),
      res: between(entry.responseStart, entry.responseEnd),
      dom: between(entry.responseEnd, entry.domContentLoadedEventEnd),
      load: between(entry.domContentLoadedEventEnd, entry.loadEventEnd),
      size: entry.transferSize,
      proto: entry.nextHopProtocol,
    } as never, view);
  });
};
