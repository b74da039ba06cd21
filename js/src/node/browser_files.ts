/** The folder that the module for browsers needs beside it: scripts, engine, guest, models. What `aicli page` calls aicli/. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import type { Entry } from "../catalog/entries.js";
import { AicliError, ModelError, UnavailableError, UsageError } from "../errors.js";
import { allEntries, DATA, readEntryFile } from "./models.js";
import { reason } from "./reason.js";

const MODULE = join(__dirname, "..", "..", "browser");
/** In the folder: bytes and SHA-256 of every other file, by its address. It makes the folder ours. */
const LIST = "files.json";
/** Of LiteRT.js: their scripts are in the package. */
const BUILDS = ["litert_wasm_internal.wasm", "litert_wasm_compat_internal.wasm"];

interface Known {
  readonly bytes: number;
  readonly sha256: string;
  /** What was there before a run that did not come to its end. */
  readonly former?: string | undefined;
}

/**
 * Writes the folder with the classifiers and face models of these names, by default those of the package, or brings it up
 * to date; the number of files and their bytes. Throws UsageError for a folder that is somebody else's, and where one of
 * its own files was changed since; ModelError for a model that cannot be had.
 */
export function writeBrowserFiles(folder: string, names: readonly string[] = []): { files: number; bytes: number } {
  const files = new Map(gather(choose(names)));
  const known = Object.fromEntries([...files].map(([address, bytes]) => [address, { bytes: bytes.length, sha256: digest(bytes) }]));
  const before = written(folder);
  for (const address of new Set([...Object.keys(before), ...files.keys()])) {
    const path = join(folder, address);
    const ours = [before[address]?.sha256, before[address]?.former, known[address]?.sha256];
    if (existsSync(path) && !ours.includes(digestOf(path) ?? "")) {
      throw new UsageError(`${path}: this file was not written by aicli-vision, or changed since; move it away first`);
    }
  }
  const list = (all: Readonly<Record<string, Known>>): void => write(join(folder, LIST), Buffer.from(`${JSON.stringify({ files: all }, null, 1)}\n`));
  try {
    // Whatever interrupts the writing, the next run knows the files of both states as its own.
    list(Object.fromEntries(Object.entries({ ...before, ...known }).map(([address, one]) => [address, { ...one, former: before[address]?.sha256 }])));
    for (const [address, bytes] of files) write(join(folder, address), bytes);
    for (const address of Object.keys(before)) if (!files.has(address)) rmSync(join(folder, address), { force: true });
    list(known);
  } catch (error) {
    throw new AicliError(`cannot write ${folder}: ${reason(error)}`);
  }
  return { files: files.size + 1, bytes: [...files.values()].reduce((sum, { length }) => sum + length, 0) };
}

function choose(names: readonly string[]): readonly Entry[] {
  const entries = allEntries();
  const wanted = names.map((name) => {
    const found = entries.find((one) => one.name === name || one.aliases?.includes(name));
    if (!found) throw new ModelError(`there is no model '${name}'; there is ${entries.map((one) => one.name).join(", ")}`);
    return found;
  });
  if (!wanted.length) {
    return entries.filter(({ files }) => Object.values(files).every(({ file }) => ["models", "labels"].some((place) => existsSync(join(DATA, place, file)))));
  }
  const faces = entries.filter(({ task, default: usual }) => task === "detect-faces" && usual);
  return [...new Set(wanted.some(({ task }) => task === "detect-faces") ? wanted : [...wanted, ...faces])];
}

function* gather(entries: readonly Entry[]): Generator<[string, Uint8Array]> {
  for (const path of readdirSync(MODULE, { recursive: true, encoding: "utf8" })) {
    const file = join(MODULE, path);
    if (statSync(file).isFile()) yield [path.replaceAll("\\", "/"), readFileSync(file)];
  }
  for (const name of BUILDS) yield [`litert/${name}`, readFileSync(engineFile(name))];
  yield ["data/aicli_guest.wasm", readFileSync(join(DATA, "aicli_guest.wasm"))];
  for (const entry of entries) {
    for (const [role, { file }] of Object.entries(entry.files)) {
      yield [posix.join("data", role === "labels" ? "labels" : "models", file), readEntryFile(entry, role).bytes];
    }
    const license = entry.license_file && join(DATA, "models", entry.license_file);
    if (license && existsSync(license)) yield [`data/models/${entry.license_file}`, readFileSync(license)];
  }
  yield ["data/models/catalog.json", Buffer.from(`${JSON.stringify({ version: 1, models: entries }, null, 1)}\n`)];
}

function engineFile(name: string): string {
  try {
    return join(dirname(require.resolve("@litertjs/core")), "..", "wasm", name);
  } catch {
    throw new UnavailableError("the files for browsers need the package @litertjs/core; run: npm install @litertjs/core");
  }
}

/** The files that were written there before. Throws UsageError for a folder with anything else. */
function written(folder: string): Readonly<Record<string, Known>> {
  if (!existsSync(folder)) return {};
  if (!statSync(folder).isDirectory()) throw new UsageError(`${folder}: this is a file; name a folder`);
  if (!readdirSync(folder).length) return {};
  try {
    const { files } = JSON.parse(readFileSync(join(folder, LIST), "utf8")) as { files: Record<string, Known> };
    if (Object.keys(files).some((address) => posix.isAbsolute(address) || address.split("/").includes(".."))) throw new Error();
    return files;
  } catch {
    throw new UsageError(`${folder}: the folder has files that aicli-vision did not write; name an empty or a new one`);
  }
}

function write(path: string, bytes: Uint8Array): void {
  if (existsSync(path) && digestOf(path) === digest(bytes)) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(`${path}.part`, bytes);
  renameSync(`${path}.part`, path);
}

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const digestOf = (path: string): string | undefined => (statSync(path).isFile() ? digest(readFileSync(path)) : undefined);
