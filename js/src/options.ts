import { readFileSync } from "node:fs";
import { join } from "node:path";
import { DATA } from "./catalog/entries.js";
import { GuestError, UsageError } from "./errors.js";
import { DEFAULT_GUEST_MEMORY, Guest, type Task } from "./guest/guest.js";
import { chooseEngine } from "./nn/choose.js";
import type { Engine, EngineName } from "./nn/engine.js";
import type { ModelFile } from "./tflite/model.js";

/** What both tasks take. */
export interface CommonOptions {
  /** `native`: the LiteRT library; `wasm`: LiteRT.js. Default: native where it is found. */
  readonly engine?: EngineName | undefined;
  /** Threads of the native engine. Default: the cores, four at most. */
  readonly threads?: number | undefined;
  /** The path of a WebAssembly module to run instead of the packaged guest. Nothing ends one that hangs. */
  readonly guest?: string | undefined;
  /** Bytes of memory that the guest may use. Default: 1 GiB. */
  readonly guestMemory?: number | undefined;
  /** Images of more pixels are refused. Default: 100 000 000. */
  readonly maxPixels?: number | undefined;
}

export async function loadGuest(task: Task, models: ReadonlyMap<string, ModelFile>, options: CommonOptions): Promise<{ guest: Guest; engine: Engine }> {
  const engine = await chooseEngine(options.engine, options.threads);
  const path = options.guest ?? join(DATA, "aicli_guest.wasm");
  const memory = inRange("guestMemory", options.guestMemory ?? DEFAULT_GUEST_MEMORY, 65536, 2 ** 32);
  let code: Uint8Array;
  try {
    code = readFileSync(path);
  } catch (error) {
    throw new GuestError(`cannot read the guest ${path} (${(error as NodeJS.ErrnoException).code ?? String(error)})`);
  }
  return { guest: new Guest(task, models, engine, code, options.guest ?? "the packaged guest", memory), engine };
}

/** The value, if it is a number from `low` to `high`. Throws UsageError. */
export function inRange(name: string, value: number, low: number, high: number): number {
  if (typeof value !== "number" || !(value >= low && value <= high)) {
    throw new UsageError(`${name} is a number from ${low} to ${high}, not ${String(value)}`);
  }
  return value;
}

export function integer(name: string, value: number, low: number, high: number): number {
  if (!Number.isInteger(value)) throw new UsageError(`${name} is a whole number from ${low} to ${high}, not ${String(value)}`);
  return inRange(name, value, low, high);
}
