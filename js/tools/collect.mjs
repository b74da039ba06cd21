// Gathers the project's own files for the package: guest, catalog, models that come along, labels, licences.
// They are made from the checkout each time and are not committed here.
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const js = join(dirname(fileURLToPath(import.meta.url)), "..");
const project = join(js, "..");
const data = join(js, "data");

const { version } = JSON.parse(readFileSync(join(js, "package.json"), "utf8"));
const own = /^__version__ = "(.+)"$/m.exec(readFileSync(join(project, "aicli", "__init__.py"), "utf8"))?.[1];
if (version !== own) throw new Error(`js/package.json says version ${version}, aicli/__init__.py ${own}: they are one project`);

for (const made of [data, join(js, "dist")]) rmSync(made, { recursive: true, force: true });
mkdirSync(data);
cpSync(join(project, "aicli", "_bundled", "aicli_guest.wasm"), join(data, "aicli_guest.wasm"));
for (const folder of ["models", "labels"]) cpSync(join(project, folder), join(data, folder), { recursive: true });
cpSync(join(project, "LICENSE"), join(js, "LICENSE"));
console.log(`data/: ${readdirSync(data).join(", ")}`);
