import { guarded } from "./guard";
import { hex } from "./ids";
import { lose } from "./lost";
import { ms } from "./numbers";
import { add, link } from "./outbox";
import { session } from "./session";
import { scrub, settings, within } from "./settings";
import { current, type View } from "./views";

/** Requests reported per page view. */
const REQUESTS = 100;
/** As long as a mark is good, the requests of its view go on with the trace that loaded it. */
const FRESH = 3e5;

interface Sent {
  view: View;
  start: number;
  how: "fetch" | "xhr";
  m: string;
  url: string;
  tid?: string | undefined;
  sid?: string | undefined;
}

const begun = (how: Sent["how"], m: string, url: string): Sent => {
  const view = current();
  const start = performance.now();
  const request: Sent = { view, start, how, m, url: new URL(url, document.baseURI).href };
  // A crawler overrides the random source: its ids would be the same on every visit.
  if (within(request.url, settings.trace) && !/bot|crawl|spider/i.test(navigator.userAgent)) {
    const { tp, mark } = link(view);
    // A mark that was old when the page came was in a cache, which serves many visitors: they are not one trace.
    request.tid = Math.max(start, Date.now() - parseInt(mark!) * 1e3) < FRESH ? tp!.slice(3, 35) : hex(16);
    request.sid = hex(8);
  }
  return request;
};

const traceparent = ({ tid, sid }: Sent): string => `00-${tid}-${sid}-01`;

const ended = guarded(({ view, start, ...request }: Sent, st: number) => {
  const took = ms(performance.now() - start);
  if (took === undefined) return;
  if (view.requests++ >= REQUESTS) return lose("full");
  add({ k: "req", ...request, url: scrub(request.url), st, ms: took } as never, view);
});

const wrapFetch = (): void => {
  const original = self.fetch;
  self.fetch = function (input, init) {
    let request: Sent | undefined;
    guarded(() => {
      if (!session) return;
      // A string and a URL have none of these.
      const given = input as Partial<Request>;
      request = begun("fetch", init?.method ?? given.method ?? "GET", given.url ?? `${input}`);
      if (!request.tid) return;
      const headers = new Headers(init?.headers ?? given.headers);
      if (headers.has("traceparent")) request.tid = request.sid = undefined;
      else headers.set("traceparent", traceparent(request)), (init = { ...init, headers });
    })();
    const answer = original.call(this, input, init);
    // The page gets what we chain, not what we have handled: its own unhandled rejections stay unhandled.
    return request
      ? answer.then(
          (response) => (ended(request!, response.status), response),
          (error) => {
            if (error?.name != "AbortError") ended(request!, 0);
            throw error;
          },
        )
      : answer;
  };
};

const wrapXhr = (): void => {
  const prototype = XMLHttpRequest.prototype;
  const { open, send } = prototype;
  const opened = new WeakMap<XMLHttpRequest, Sent>();
  prototype.open = function (...given: unknown[]) {
    guarded(() => opened.set(this, begun("xhr", `${given[0]}`, `${given[1]}`)))();
    return open.apply(this, given as never);
  };
  prototype.send = function (data) {
    guarded(() => {
      const request = opened.get(this);
      if (!session || !request) return;
      request.start = performance.now();
      if (request.tid) this.setRequestHeader("traceparent", traceparent(request));
      for (const type of ["load", "error", "timeout"]) {
        this.addEventListener(type, () => ended(request, this.status), { once: true });
      }
    })();
    return send.call(this, data);
  };
};

export const watchRequests = (): void => {
  wrapFetch();
  wrapXhr();
};
