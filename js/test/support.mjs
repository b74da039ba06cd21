// What the tests share: the project's folders, the engines to be tested, comparison of records.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const require = createRequire(import.meta.url);
export const JS = join(dirname(fileURLToPath(import.meta.url)), "..");
export const PROJECT = join(JS, "..");
export const SHARED = join(PROJECT, "..", "shared");
export const EXAMPLES = join(PROJECT, "examples");

/** A file of the compiled package that is no public entry. */
export const internal = (file) => require(join(JS, "dist", file));

/** In CI what is missing is a failure, elsewhere it is left out. */
const demanded = process.env.AICLI_REQUIRE_SHARED === "1";
export const hasShared = existsSync(SHARED) || demanded;
export const hasNative = internal("node/engines.js").findLibrary() !== undefined || demanded;
export const ENGINES = hasNative ? ["native", "wasm"] : ["wasm"];

export const golden = () => JSON.parse(readFileSync(join(PROJECT, "tests", "data", "golden.json"), "utf8"));

/** Where two records differ: numbers by more than 1e-3 (scores) or a fiftieth of a pixel, anything else at all. */
export function differences(found, expected, path = "") {
  if (typeof expected === "number" && typeof found === "number") {
    const allowed = expected >= 0 && expected <= 1 ? 1e-3 : Number.isInteger(expected) && !/box|landmarks/.test(path) ? 0 : 0.02;
    return Math.abs(found - expected) <= allowed ? [] : [`${path}: ${found}, not ${expected}`];
  }
  if (expected && typeof expected === "object" && found && typeof found === "object") {
    const keys = new Set([...Object.keys(found), ...Object.keys(expected)]);
    return [...keys].flatMap((key) => differences(found[key], expected[key], `${path}/${key}`));
  }
  return found === expected ? [] : [`${path}: ${found}, not ${expected}`];
}
