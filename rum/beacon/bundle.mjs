// From src/ to the text of the two files that are shipped. Deterministic: same sources, same bytes.
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { minify } from "terser";
import { INTERNAL, NAMES, specialise } from "./specialise.mjs";

const folder = fileURLToPath(new URL(".", import.meta.url));

/** esbuild bundles; terser then renames, which gzip likes better by 7 %. `stubs` replaces modules, to weigh them. */
export const bundle = async (entry, format, stubs = {}) => {
  const built = await build({
    absWorkingDir: folder,
    entryPoints: [`src/${entry}.ts`],
    bundle: true,
    minify: true,
    write: false,
    format,
    target: "es2022",
    legalComments: "none",
    logLevel: "error",
    plugins: [stub(stubs), specialise],
    mangleProps: new RegExp(`^(_.*|${[...Object.keys(NAMES), ...INTERNAL].join("|")})$`),
    mangleCache: { ...NAMES },
  });
  const module = format === "esm";
  const { code } = await minify(built.outputFiles[0].text, {
    ecma: 2020,
    module,
    compress: { passes: 3, toplevel: true, pure_getters: true, unsafe_arrows: true, keep_fargs: false },
    mangle: { toplevel: true },
  });
  return `${code}\n`;
};

export const gzipped = (text) => gzipSync(text, { level: 9 }).length;

const stub = (stubs) => ({
  name: "stub",
  setup(build) {
    build.onLoad({ filter: /[/\\]src[/\\]\w+\.ts$/ }, ({ path }) => {
      const contents = stubs[/(\w+)\.ts$/.exec(path)[1]];
      return contents === undefined ? undefined : { contents, loader: "ts" };
    });
  },
});
