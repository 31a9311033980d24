import { guarded } from "./guard";
import { lose, takeLost } from "./lost";
import { named, session } from "./session";
import { settings } from "./settings";
import type { Item, Lost, Reason } from "./wire";
import { current, hidden, load, loadType, now, pending, prerendering, shownAt, type View, views } from "./views";

/** One body. A retry keeps `seq` and `items`, so that the endpoint can tell. */
interface Parcel {
  view: View;
  seq: number;
  items: Item[];
  lost: Lost;
  again?: boolean;
}

/** Of 60,000 for the whole body; 64 KiB is what browsers let all unfinished `keepalive` requests have. */
const ITEM_BYTES = 56e3;
const ITEMS = 100;
/** In a row, before the page is left alone until it is hidden. */
const FAILURES = 4;
/** Kept while they cannot be sent; then the oldest goes. */
const BODIES = 50;

let outbox: Parcel[] = [];
let timer = 0;
let busy = false;
let failures = 0;

/** The page's own fetch may be replaced later; ours must not be measured. */
const post = self.fetch;

/** Called before anything is packed: sums up what has been gathered. */
export const settlers: (() => void)[] = [];

export const settle = (): void => {
  // Opens the first view, where nothing asked for it before.
  current();
  const first = views[0]!;
  // Reading the load's timing is a good part of start-up's cost, so it is not read there.
  if (first.head.nav == "") {
    first.head.nav = loadType();
    first.t = shownAt();
  }
  settlers.forEach((settler) => settler());
};

/** Queue `item` for `view`. */
export const add = (item: Item, view = current()): void => {
  if (!session) return;
  item.t ??= now();
  view.items.push(item);
  pending.add(view);
  later();
};

export const later = (wait = settings.every ?? 5e3): void => {
  timer ||= setTimeout(flush, wait);
};

export const drop = (): void => {
  settle();
  outbox = [];
  pending.forEach((view) => (view.items = []));
};

/** Send what there is; everything stays when the page is not shown yet or is offline. */
export const flush = guarded(() => {
  clearTimeout(timer);
  timer = 0;
  if (!session || prerendering() || (!navigator.onLine && pending.size < BODIES)) return;
  settle();
  pending.forEach(pack);
  pending.clear();
  pump();
});

/** What it would have told of other losses is told by a later one. */
const giveUp = ({ items, lost }: Parcel): void => {
  lose("unsent", items.length);
  for (const reason in lost) lose(reason as Reason, lost[reason as Reason]);
};

const pack = (view: View): void => {
  const items = view.items;
  if (!view.seq) items.unshift({ k: "view", t: view.t });
  view.items = [];
  let bytes = ITEM_BYTES;
  let parcel: Parcel;
  for (const item of items) {
    const size = new Blob([JSON.stringify(item)]).size + 1;
    if ((bytes += size) > ITEM_BYTES || parcel!.items.length == ITEMS) {
      outbox.push((parcel = { view, seq: view.seq++, items: [], lost: takeLost() }));
      if (outbox.length > BODIES) giveUp(outbox.shift()!);
      bytes = size;
    }
    parcel!.items.push(item);
  }
};

/** `sendBeacon` outlives the page but tells nothing; `fetch` tells, so that a refused body can go again. */
const pump = guarded(() => {
  if (!session || !navigator.onLine) return;
  const path = settings.path ?? "/_fc";
  while (outbox[0] && hidden()) {
    if (!navigator.sendBeacon(path, body(outbox[0]))) return later();
    outbox.shift();
  }
  const parcel = outbox[0];
  if (!parcel || busy) return;
  outbox.shift();
  busy = true;
  // All unfinished `keepalive` requests share 64 KiB: of several bodies only the last is one.
  post(path, { method: "POST", body: body(parcel), keepalive: !outbox[0] })
    .then(
      (answer) =>
        answer.status == 429 || answer.status > 499 ? Math.min(+answer.headers.get("Retry-After")! || 5, 60) : 0,
      () => 5,
    )
    .then((wait) => {
      failures = wait && failures + 1;
      if (wait && parcel.again) giveUp(parcel);
      else if (wait) outbox.unshift({ ...parcel, again: true });
      if (failures < FAILURES) setTimeout(() => ((busy = false), pump()), wait * 1e3);
    });
});

const body = ({ view, seq, items, lost }: Parcel): string => {
  const { app, release: rel } = settings;
  const net = (navigator as { connection?: { effectiveType?: string; rtt?: number } }).connection;
  return JSON.stringify({
    v: 1, app, rel, ses: named(), seq, sent: now(), ...view.head,
    dev: device(), net: net?.effectiveType, rtt: net?.rtt,
    tz: zone(),
    wd: navigator.webdriver ? 1 : undefined,
    ...link(view),
    lost, items,
  }); // prettier-ignore
};

/** `Intl` alone would load all its data: 17 ms of a desktop's main thread, where `Temporal` needs half of one. */
const zone = (): string =>
  (self as { Temporal?: { Now: { timeZoneId: () => string } } }).Temporal?.Now.timeZoneId() ??
  Intl.DateTimeFormat().resolvedOptions().timeZone;

const device = (): string =>
  !matchMedia("(pointer:coarse)").matches ? "desktop" : Math.min(screen.width, screen.height) < 600 ? "mobile" : "tablet";

/** The backend's span of this load, unless the document came from a cache: then the span is another visit's. */
export const link = (view: View): { tp?: string; mark?: string } => {
  const entry = load();
  if (!view.hard || !entry || (entry.responseEnd && !entry.transferSize)) return {};
  const said = (name: string) => entry.serverTiming?.find((member) => member.name == name)?.description;
  return { tp: said("traceparent"), mark: said("fcmark") };
};
