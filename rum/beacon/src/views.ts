import { initMetric } from "../node_modules/web-vitals/dist/modules/lib/initMetric.js";
import { getNavigationEntry } from "../node_modules/web-vitals/dist/modules/lib/getNavigationEntry.js";
import { hex } from "./ids";
import { session } from "./session";
import { bare, scrub, settings } from "./settings";
import type { Fault, Item } from "./wire";

/** A page view: a load, a return from the bfcache, or a soft navigation. */
export interface View {
  /** What every body of the view says. */
  head: { id: string; url: string; route?: string; nav: string; hid?: 1 };
  /** When it began, in milliseconds from the time origin. */
  t: number;
  /** The address without its fragment: finds the view that a vital of a soft navigation belongs to. */
  href: string;
  /** Where it has got to, as far as addresses matter: another one is another view. */
  place: string;
  /** The number of the next body. */
  seq: number;
  /** The document's own view, which the server answered. */
  hard: boolean;
  items: Item[];
  /** Errors by what tells them apart; the item that counts them. */
  faults: Map<string, Fault>;
  requests: number;
}

/** Views that a late vital may still belong to, the current one last. */
export const views: View[] = [];
/** Views with something to send. */
export const pending = new Set<View>();

export const now = (): number => Math.round(performance.now() * 10) / 10;
export const current = (): View => views.at(-1) ?? open();
export const hidden = (): boolean => document.visibilityState == "hidden";
export const prerendering = (): boolean => (document as { prerendering?: boolean }).prerendering!;
const behind = (): boolean => hidden() && !prerendering();
/** Asked at start: the first view is opened a moment later. */
const unseen = behind();
/** Its `activationStart` is when a prerendered page was shown. */
export const load = getNavigationEntry;
export const shownAt = (): number => (load() as { activationStart?: number } | undefined)?.activationStart ?? 0;

/** How the document came to be, in web-vitals' words, so that its values find their view. */
export const loadType = (): string => initMetric("LCP").navigationType;

/** Another fragment is another place only if the page's scrubber keeps it. */
export const place = (): string => bare(location.href) + scrub(location.href);

/** A page view begins; the load's kind is found out later. */
export const open = (nav = ""): View => {
  const url = scrub(location.href);
  const { route } = settings as { route?: string & ((url: string) => string) };
  const view: View = {
    head: {
      id: hex(16),
      url,
      // A name that was given is the load's, and that of the same place after a return.
      route: route?.call ? route(url) : nav == "soft-navigation" ? undefined : views.at(-1)?.head.route ?? route,
      nav,
      hid: (views[0] ? behind() : unseen) ? 1 : undefined,
    },
    t: now(),
    href: bare(location.href),
    place: place(),
    seq: 0,
    hard: !views[0],
    items: [],
    faults: new Map(),
    requests: 0,
  };
  views.push(view);
  if (views.length > 5) views.shift();
  if (session) pending.add(view);
  return view;
};
