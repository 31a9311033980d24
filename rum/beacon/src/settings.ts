import type { Options } from "./options";

export const bare = (url: string): string => url.split("#")[0]!;

/** What `start` was given. */
export let settings: Options = {};
export const configure = (options: Options): void => {
  settings = options;
};

/** Query and fragment may name people, and so may the content of a `data:` address. No pattern: it runs at start-up. */
export const scrub = (raw: string): string => {
  const url = raw.startsWith("data:") ? "data:" : bare(raw).split("?")[0]!;
  return (settings.scrub ? settings.scrub(url, raw) : url).slice(0, 500);
};

/** The same for the addresses inside a message or a stack, which keep their `:line:column`. */
export const scrubText = (text: unknown, most: number): string =>
  `${text}`
    .slice(0, 9999)
    .replace(/(\w+:\/\/[^\s"')]+?)((:\d+){0,2})(?=[\s"')]|$)/g, (_, url, place) => scrub(url) + place)
    .slice(0, most);

/** Whether `url` belongs to the page's origin or to one of `more`. */
export const within = (url: string, more?: string | string[]): boolean =>
  `${location.origin} ${more}`.split(/[ ,]/).includes(new URL(url, document.baseURI).origin);

export const own = (src: string): 0 | 1 => (!src || within(src, settings.own) ? 1 : 0);
