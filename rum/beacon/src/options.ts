/** What the user has allowed: nothing, measuring without storage, or a session id in `sessionStorage` too. */
export type Consent = "off" | "on" | "storage";

/** How to set the beacon up; every field has a default. */
export interface Options {
  /** Where bodies are posted. Choose a path that content blockers have no word against. Default `/_fc`. */
  path?: string;
  /** The application's name, at most 64 of letters, digits, `_`, `.`, `-`. */
  app?: string;
  /** The release shown in errors and page views. */
  release?: string;
  /** The route's name, or what makes it of the scrubbed URL; without it the endpoint derives one. */
  route?: string | ((url: string) => string | undefined);
  /** Share of sessions that are measured, 0 to 1. Default 1. */
  sample?: number;
  /** Consent given so far. Default `on`. */
  consent?: Consent;
  /** Origins that get `traceparent`, besides the page's own; they must allow that header. */
  trace?: string | string[];
  /** Origins whose scripts are your own, besides the page's own. */
  own?: string | string[];
  /** Applied to every URL after its query and fragment were dropped; the second argument is the URL as it was. */
  scrub?: (url: string, raw: string) => string;
  /** The address of this very script, whose failures are not the page's; the script tag knows it. */
  file?: string;
  /** Milliseconds between bodies while the page is open. Default 5000. */
  every?: number;
}
