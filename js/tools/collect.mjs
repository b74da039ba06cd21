// Gathers the project's own files for the package: guest, catalog, models that come along, labels, licences, and what
// tools/browser.mjs built for browsers but LiteRT.js' WebAssembly, which npm installs.
// They are made from the checkout each time and are not committed here.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const js = join(dirname(fileURLToPath(import.meta.url)), "..");
const project = join(js, "..");
const data = join(js, "data");

const { version } = JSON.parse(readFileSync(join(js, "package.json"), "utf8"));
const own = /^__version__ = "(.+)"$/m.exec(readFileSync(join(project, "aicli", "__init__.py"), "utf8"))?.[1];
if (version !== own) throw new Error(`js/package.json says version ${version}, aicli/__init__.py ${own}: they are one project`);

const browser = join(js, "browser");
const page = join(project, "aicli", "_bundled", "page");
if (!existsSync(join(page, "index.d.ts"))) throw new Error("the browser's half is not built; run: npm run browser");

for (const made of [data, browser, join(js, "dist")]) rmSync(made, { recursive: true, force: true });
mkdirSync(data);
cpSync(join(project, "aicli", "_bundled", "aicli_guest.wasm"), join(data, "aicli_guest.wasm"));
for (const folder of ["models", "labels"]) cpSync(join(project, folder), join(data, folder), { recursive: true });
cpSync(join(project, "LICENSE"), join(js, "LICENSE"));
for (const part of ["index.js", "index.d.ts", "types", "worker.js", "LICENSES"]) cpSync(join(page, part), join(browser, part), { recursive: true });
for (const name of readdirSync(join(page, "litert")).filter((one) => one.endsWith(".js"))) cpSync(join(page, "litert", name), join(browser, "litert", name));
writeFileSync(join(browser, "package.json"), `${JSON.stringify({ type: "module" })}\n`);
console.log(`data/: ${readdirSync(data).join(", ")}`);
