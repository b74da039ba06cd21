/** What both tasks take on every platform, and the checks of numbers. */
import { UsageError } from "./errors.js";
import type { Pixels } from "./guest/guest.js";
import type { Engine } from "./nn/engine.js";

export interface SharedOptions {
  /** Bytes of memory that the guest may use. Default: 1 GiB. */
  readonly guestMemory?: number | undefined;
  /** Images of more pixels are refused. Default: 100 000 000. */
  readonly maxPixels?: number | undefined;
}

/** What a task runs on: the engine, and the guest's code with what it is called in errors. */
export interface Host {
  readonly engine: Engine;
  readonly code: Uint8Array;
  readonly source: string;
  readonly guestMemory?: number | undefined;
}

/** An image ready for a task: upright RGB pixels. */
export interface DecodedImage extends Pixels {
  readonly name: string;
  readonly frames: number;
}

export const DEFAULT_GUEST_TIMEOUT = 60;
export const DEFAULT_MAX_PIXELS = 100_000_000;

/** The names of a type's options, all of them: the compiler holds them to the type. */
export type Names<Options> = Readonly<Record<keyof Options, true>>;

export const SHARED: Names<SharedOptions> = { guestMemory: true, maxPixels: true };

/**
 * Throws UsageError for options that are no object, and for a name that `owner` does not take. `elsewhere` takes the names
 * `others`: who gives one of them is told so.
 */
export function checkNames(
  owner: string,
  options: unknown,
  names: Readonly<Record<string, true>>,
  elsewhere = "",
  others: Readonly<Record<string, true>> = {},
): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new UsageError(`${owner}: options are an object such as { ${Object.keys(names)[0] ?? ""}: ... }, not ${String(options)}`);
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(names, name)) continue;
    const near = nearest(name, Object.keys(names));
    const guess = Object.hasOwn(others, name) ? `; ${elsewhere} takes it` : near ? `; did you mean '${near}'?` : "";
    throw new UsageError(`${owner} has no option '${name}'${guess}`);
  }
}

/** The name that is most like this one, however it is spelt (`top_k`, `topk`), if one is like it at all. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = (word: string): string => word.toLowerCase().replace(/[-_]/g, "");
  const [best] = names.map((one) => ({ one, far: distance(plain(name), plain(one)) })).sort((a, b) => a.far - b.far);
  return best && best.far <= best.one.length / 3 ? best.one : undefined;
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
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

export function yesOrNo(name: string, value: boolean): boolean {
  if (typeof value !== "boolean") throw new UsageError(`${name} is true or false, not ${String(value)}`);
  return value;
}

/** The seconds that a guest may take. Throws UsageError. */
export function timeLimit(seconds: number = DEFAULT_GUEST_TIMEOUT): number {
  if (!(typeof seconds === "number" && seconds > 0 && seconds <= 1_000_000)) {
    throw new UsageError(`guestTimeout is a number of seconds above 0, at most 1000000, not ${String(seconds)}`);
  }
  return seconds;
}
