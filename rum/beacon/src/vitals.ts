import { onCLS, onFCP, onINP, onLCP, onTTFB, type INPAttribution, type MetricWithAttribution } from "../node_modules/web-vitals/dist/modules/attribution/index.js";
import { ran, scriptsBetween } from "./frames";
import { whenIdleOrHidden } from "../node_modules/web-vitals/dist/modules/lib/whenIdleOrHidden.js";
import { guarded } from "./guard";
import { ms } from "./numbers";
import { add, settlers } from "./outbox";
import { bare, scrub } from "./settings";
import { pending, type View, views } from "./views";
import type { Vital } from "./wire";

const owners = new WeakMap<object, View | undefined>();

const owner = (metric: MetricWithAttribution): View | undefined => {
  if (!owners.has(metric)) {
    const { navigationType: nav, navigationURL: url = "" } = metric;
    owners.set(metric, views.findLast((view) => view.head.nav == nav && (nav != "soft-navigation" || view.href == bare(url))));
  }
  return owners.get(metric);
};

/** A value so far. It goes out early and is replaced as it changes: users leave before it is final. */
const report = guarded((metric: MetricWithAttribution) => {
  const { name, id, value, delta, attribution } = metric;
  const view = owner(metric);
  const parts = name == "CLS" ? 1e4 : 10;
  const val = ms(value, parts);
  if (!view || val === undefined) return;
  const at: Record<string, unknown> = {};
  // The build gives the parts their names on the wire, all of at most five letters.
  for (const [part, given] of Object.entries(attribution)) {
    if (!part[5]) at[part] = given?.toFixed ? ms(given, parts) : (part == "url" ? scrub(given) : given)?.slice(0, 200);
  }
  const longest = (attribution as INPAttribution).longestScript;
  if (longest) {
    const { src, own, fn } = ran(longest.entry as never);
    Object.assign(at, { src, own, fn, ms: ms(longest.intersectingDuration) });
  }
  let vital = view.items.find((item) => (item as Vital).id == id) as Vital | undefined;
  if (!vital) add((vital = { k: "vital", name, id, dlt: 0 } as Vital), view);
  vital.val = val;
  vital.dlt += delta;
  vital.at = at;
});

export const watchVitals = (): void => {
  // All changes and soft navigations: `specialise.mjs` leaves no other way.
  [onLCP, onINP, onCLS, onFCP, onTTFB].forEach((watch) => whenIdleOrHidden(() => watch(report as never)));
  // The frames before the largest paint are often told after it.
  settlers.push(() =>
    pending.forEach(({ items, t }) => {
      for (const { name, val, at } of items as Vital[]) {
        if (name == "LCP") Object.assign(at!, scriptsBetween(t, t + val!));
      }
    }),
  );
};
