// The script tag: options come from its `data-` attributes, functions from `window.firstcause` set before it.
import { consent, error, route, start, view } from "./index";
import type { Options } from "./options";

const tag = document.currentScript as HTMLScriptElement | null;
const page = self as { firstcause?: Options & { view?: unknown } };

// A second tag would count everything twice.
if (!page.firstcause?.view) {
  start({ file: tag?.src, ...tag?.dataset, ...page.firstcause });
  page.firstcause = { consent, error, route, view } as never;
}
