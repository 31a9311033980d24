// `npm run build` writes generated/; `npm run check` compares it with what would be written; `npm run size` weighs.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync } from "node:zlib";
import { bundle, gzipped } from "./bundle.mjs";

const MOST = 8192;
const here = new URL(".", import.meta.url).pathname;

/** What leaves when a module is taken out; the rest is counted as the core. */
const FEATURES = {
  "web vitals with attribution": { vitals: "export const watchVitals = () => {};" },
  "long frames, long tasks, by script": {
    frames: "export const watchFrames = () => {}; export const scriptsBetween = () => ({}); export const ran = () => ({});",
  },
  "errors and rejections": { errors: "export const watchErrors = () => {}; export const note = () => {};" },
  "fetch and XHR, traceparent": { requests: "export const watchRequests = () => {};" },
  "navigation phases": { phases: "export const watchPhases = () => {};" },
  "soft navigations": {
    routes: `import { settle, later } from "./outbox"; import { open } from "./views"; export const EARLY_MS = 1e3;
      export const turn = (nav) => { settle(); open(nav); later(EARLY_MS); }; export const watchRoutes = () => {};`,
  },
  "consent and sampling": {
    session: `import { hex } from "./ids"; export let session = ""; export const named = () => session; export const allow = () => { session = hex(16); };`,
  },
  "URL scrubbing": {
    settings: `export let settings = {}; export const configure = (given) => { settings = given; };
      export const bare = (url) => url.split("#")[0]; export const scrub = (url) => url; export const scrubText = (text) => text;
      export const within = (url, more) => \`\${location.origin} \${more}\`.split(/[ ,]/).includes(new URL(url, document.baseURI).origin);
      export const own = (src) => (!src || within(src, settings.own) ? 1 : 0);`,
  },
};

const types = () => {
  const made = mkdtempSync(join(tmpdir(), "fc-types-"));
  try {
    execFileSync(join(here, "node_modules/.bin/tsc"), ["-p", here, "--outDir", made], { stdio: "inherit" });
    return Object.fromEntries(["index.d.ts", "options.d.ts"].map((name) => [name, readFileSync(join(made, name), "utf8")]));
  } finally {
    rmSync(made, { recursive: true });
  }
};

/** Name → content of everything in generated/. */
const make = async () => {
  const files = { "fc.js": await bundle("tag", "iife"), "index.mjs": await bundle("index", "esm") };
  const measured = Object.entries(files).map(([name, text]) => [
    name,
    {
      bytes: Buffer.byteLength(text),
      gzip: gzipped(text),
      brotli: brotliCompressSync(text).length,
      integrity: `sha384-${createHash("sha384").update(text).digest("base64")}`,
    },
  ]);
  return { ...files, ...types(), "sizes.json": `${JSON.stringify(Object.fromEntries(measured), null, 2)}\n` };
};

const table = async () => {
  const all = gzipped(await bundle("tag", "iife"));
  let rest = all;
  const line = (what, bytes) => console.log(`${what.padEnd(36)} ${String(bytes).padStart(6)}`);
  for (const [what, stubs] of Object.entries(FEATURES)) {
    const cost = all - gzipped(await bundle("tag", "iife", stubs));
    rest -= cost;
    line(what, cost);
  }
  line("core: views, queue, sending", rest);
  line(`all, gzip -9 (at most ${MOST})`, all);
  return all <= MOST;
};

const differing = (files) =>
  Object.keys(files).filter((name) => {
    try {
      return readFileSync(join(here, "generated", name), "utf8") !== files[name];
    } catch {
      return true;
    }
  });

const command = process.argv[2];
if (command === "size") process.exit((await table()) ? 0 : 1);
const files = await make();
if (command === "check") {
  const stale = differing(files);
  if (stale.length) console.error(`stale in generated/: ${stale.join(", ")}; npm run build`);
  process.exit(stale.length ? 1 : 0);
}
for (const [name, text] of Object.entries(files)) writeFileSync(join(here, "generated", name), text);
console.log(files["sizes.json"]);
