/** The catalog's models: what catalog.json says of each, and bytes as a model. */
import { ModelError } from "../errors.js";
import { DamagedError } from "../tflite/flatbuffer.js";
import { ModelFile } from "../tflite/model.js";
import type { KnownInput } from "./spec.js";

export interface FileRef {
  readonly file: string;
  readonly sha256?: string | null;
}

export interface Entry {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly task: "classify" | "detect-faces";
  readonly title?: string;
  /** The licence's text, in the folder of models. */
  readonly license_file?: string;
  /** The one to take for its task where none is named. */
  readonly default?: boolean;
  readonly files: Readonly<Record<string, FileRef>>;
  readonly input?: KnownInput;
  readonly output?: { readonly kind?: string; readonly tensor?: number };
}

/**
 * The entry of this name or alias; without a name the task's usual one. Throws ModelError where there is none, or one for
 * another task; `elsewhere` says what to give instead.
 */
export function chooseEntry(entries: readonly Entry[], name: string | undefined, task: Entry["task"], elsewhere: string): Entry {
  const usual = entries.filter((one) => one.task === task);
  const entry = name === undefined
    ? (usual.find((one) => one.default) ?? usual[0])
    : entries.find((one) => one.name === name || one.aliases?.includes(name));
  if (!entry) throw new ModelError(`there is no model ${name === undefined ? `for the task ${task}` : `'${name}'`}; ${elsewhere}`);
  if (entry.task !== task) throw new ModelError(`the model ${entry.name} is for the task ${entry.task}`);
  return entry;
}

export function fileOf(entry: Entry, role: string): FileRef {
  const ref = entry.files[role];
  if (!ref) throw new ModelError(`the model ${entry.name} has no file '${role}' in the catalog`);
  return ref;
}

export function asModel(name: string, bytes: Uint8Array): ModelFile {
  try {
    return new ModelFile(name, bytes);
  } catch (error) {
    if (error instanceof DamagedError) throw new ModelError(`${name}: not a TFLite model that can be read: ${error.message}`);
    throw error;
  }
}
