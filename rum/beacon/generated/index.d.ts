import type { Consent, Options } from "./options.js";
export type { Consent, Options };
/** Begin to measure. */
export declare const start: (options?: Options | undefined) => void;
/** Give, extend or withdraw consent: what has not been sent by then is not sent. */
export declare const consent: (given: Consent) => void;
/** Name the current view's route. */
export declare const route: (name: string) => void;
/** A page view that no change of the address shows. */
export declare const view: (name?: string | undefined) => void;
/** Report an error that was caught, by a framework's error boundary say. */
export declare const error: (caught: unknown) => void;
