import { guarded } from "./guard";
import { hex } from "./ids";
import type { Consent } from "./options";
import { settings } from "./settings";

/** Whether anything may be measured; the session's id once it was asked for. */
export let session: boolean | string = false;

/** Making an id is a good part of start-up's cost, so it is made for the first body. */
export const named = (): string => (session = session === true ? hex(16) : session) as string;

/** `sessionStorage` throws where the user or a sandbox forbids it: then the session is this document. */
const keep = guarded(() => {
  session = sessionStorage.fc ||= named();
});

const forget = guarded(() => sessionStorage.removeItem("fc"));

export const allow = (consent: Consent): void => {
  if (consent == "off") {
    session = false;
    return forget();
  }
  session ||= true;
  if (consent == "storage") keep();
  // A session is in the sample by its own id: the same answer on every page of a tab.
  if (settings.sample! < 1 && +`0x${named().slice(0, 8)}` >= settings.sample! * 2 ** 32) session = false;
};
