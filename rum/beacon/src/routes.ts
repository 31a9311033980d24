import { guarded } from "./guard";
import { later, settle } from "./outbox";
import { current, open, place } from "./views";

/** The first body of a view goes early, so that it counts and its mark is fresh. */
export const EARLY_MS = 1e3;

export const turn = guarded((nav: string) => {
  settle();
  open(nav);
  later(EARLY_MS);
});

/** `replaceState` corrects the address of a view, and begins none. */
const moved = guarded((how: string) => {
  const view = current();
  const before = view.place;
  view.place = place();
  if (view.place != before && how != "replace") turn("soft-navigation");
});

export const watchRoutes = (): void => {
  const { navigation } = self as { navigation?: EventTarget };
  if (navigation) {
    navigation.addEventListener("currententrychange", (event) => moved((event as PopStateEvent & { navigationType: string }).navigationType));
    return;
  }
  addEventListener("popstate", () => moved(""));
  for (const how of ["push", "replace"]) {
    const name = `${how}State` as "pushState";
    const original = history[name];
    history[name] = function (...given) {
      original.apply(this, given);
      moved(how);
    };
  }
};
