// Builds the browser's half into the Python package, from where `aicli page` and `aicli serve` take it: the module with its
// types, its worker, and LiteRT.js' two builds for one thread, their scripts minified. Models, labels and guest are not copied: they are the
// Python package's own.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const js = join(dirname(fileURLToPath(import.meta.url)), "..");
const project = join(js, "..");
const page = join(project, "aicli", "_bundled", "page");
const packages = join(js, "node_modules");
const version = (name) => JSON.parse(readFileSync(join(packages, name, "package.json"), "utf8")).version;

rmSync(page, { recursive: true, force: true });
for (const folder of ["litert", "LICENSES"]) mkdirSync(join(page, folder), { recursive: true });

// Our own are not minified: who looks at a page that sees photos should be able to read it.
const options = { bundle: true, target: "es2022", absWorkingDir: js, legalComments: "inline", logLevel: "warning", charset: "utf8" };
await build({ ...options, entryPoints: ["src/browser/index.ts"], format: "esm", outfile: join(page, "index.js") });
// A classic worker, which can load LiteRT.js' script as it is.
await build({ ...options, entryPoints: ["src/browser/worker.ts"], format: "iife", outfile: join(page, "worker.js") });

execFileSync(process.execPath, [join(packages, "typescript", "bin", "tsc"), "-p", "tsconfig.types.json"], { cwd: js, stdio: "inherit" });
writeFileSync(join(page, "index.d.ts"), 'export * from "./types/browser/index.js";\n');

for (const name of ["litert_wasm_internal", "litert_wasm_compat_internal"]) {
  const wasm = join(packages, "@litertjs", "core", "wasm");
  writeFileSync(join(page, "litert", `${name}.wasm`), readFileSync(join(wasm, `${name}.wasm`)));
  const { code } = await transform(readFileSync(join(wasm, `${name}.js`), "utf8"), { minify: true, target: "es2022", legalComments: "inline" });
  writeFileSync(join(page, "litert", `${name}.js`), code);
}
const heading = `LiteRT.js ${version("@litertjs/core")}, by Google: files of the npm package @litertjs/core, its scripts minified.\n\n`;
writeFileSync(join(page, "LICENSES", "litert.txt"), heading + readFileSync(join(project, "LICENSE"), "utf8"));
writeFileSync(
  join(page, "LICENSES", "fflate.txt"),
  `fflate ${version("fflate")}: parts of it are in worker.js.\n\n` + readFileSync(join(packages, "fflate", "LICENSE"), "utf8"),
);
cpSync(join(project, "LICENSE"), join(page, "LICENSES", "aicli.txt"));
console.log("aicli/_bundled/page");
