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
