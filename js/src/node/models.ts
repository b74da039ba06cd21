/** The catalog's models, those that the Python tool pulled or registered, and files by their path. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { basename, isAbsolute, join } from "node:path";
import { asModel, chooseEntry, type Entry, fileOf } from "../catalog/entries.js";
import { ModelError } from "../errors.js";
import type { ModelFile } from "../tflite/model.js";

/** The folder of the project's own files: guest, models, labels, catalog. */
export const DATA = join(__dirname, "..", "..", "data");

/** The Python tool's folder of models: `AICLI_MODELS_DIR`, else `aicli/models` in the platform's place for data. */
export function userModels(): string {
  const given = process.env["AICLI_MODELS_DIR"];
  if (given) return given;
  const { platform, env } = process;
  if (platform === "win32") return join(env["LOCALAPPDATA"] ?? join(homedir(), "AppData", "Local"), "aicli", "models");
  if (platform === "darwin") return join(homedir(), "Library", "Application Support", "aicli", "models");
  const data = env["XDG_DATA_HOME"] ?? "";
  return join(isAbsolute(data) ? data : join(homedir(), ".local", "share"), "aicli", "models");
}

function readEntries(path: string): readonly Entry[] {
  if (!existsSync(path)) return [];
  try {
    const { models } = JSON.parse(readFileSync(path, "utf8")) as { models?: Entry[] };
    return models ?? [];
  } catch (error) {
    throw new ModelError(`${path}: the catalog is damaged (${error instanceof Error ? error.message : String(error)})`);
  }
}

export function allEntries(): readonly Entry[] {
  return [...readEntries(join(DATA, "models", "catalog.json")), ...readEntries(join(userModels(), "registry.json"))];
}

export function requireEntry(name: string | undefined, task: Entry["task"]): Entry {
  return chooseEntry(allEntries(), name, task, "give a name of the catalog or the path of a .tflite file");
}

/** The bytes of a file of a model, once they are known to be the ones that the catalog means. */
export function readEntryFile(entry: Entry, role: string): { path: string; bytes: Uint8Array } {
  const ref = fileOf(entry, role);
  const places = [join(DATA, "models"), join(DATA, "labels"), userModels()].map((folder) => join(folder, ref.file));
  const path = places.find((place) => existsSync(place));
  if (!path) {
    throw new ModelError(`the model ${entry.name} is known but not here; get it with the Python tool: aicli models pull ${entry.name}`);
  }
  const bytes = readFileSync(path);
  if (ref.sha256 && createHash("sha256").update(bytes).digest("hex") !== ref.sha256) {
    throw new ModelError(`${path}: this is not the file of ${entry.name} that the catalog means (SHA-256); get it again`);
  }
  return { path, bytes };
}

export function looksLikePath(model: string): boolean {
  return /\.(tflite|lite)$/i.test(model) || model.includes("/") || model.includes("\\");
}

/** A model's file by its path. */
export function readModelFile(path: string): ModelFile {
  return asModel(basename(path), readModelBytes(path));
}

function readModelBytes(path: string): Uint8Array {
  if (!existsSync(path)) throw new ModelError(`${path}: there is no such model file`);
  if (!statSync(path).isFile()) throw new ModelError(`${path}: this is not a regular file`);
  return readFileSync(path);
}
