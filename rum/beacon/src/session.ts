import { guarded } from "./guard";
import { hex } from "./ids";
import type { Consent } from "./options";
import { settings } from "./settings";

/** The session's id; "" while nothing may be measured. */
export let session = "";

/** `sessionStorage` throws where the user or a sandbox forbids it: then the session is this document. */
const keep = guarded(() => {
  session = sessionStorage.fc ||= session;
});

const forget = guarded(() => sessionStorage.removeItem("fc"));

export const allow = (consent: Consent): void => {
  if (consent == "off") {
    session = "";
    forget();
    return;
  }
  session ||= hex(16);
  if (consent == "storage") keep();
  // A session is in the sample by its own id: the same answer on every page of a tab.
  if (+`0x${session.slice(0, 8)}` >= (settings.sample ?? 1) * 2 ** 32) session = "";
};
