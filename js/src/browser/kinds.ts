/** The package's errors by name: an error that leaves the worker is made again in the page, of the same class. */
import * as errors from "../errors.js";

const KINDS: Readonly<Record<string, new (message: string) => errors.AicliError>> = errors;

export function kindOf(error: errors.AicliError): string {
  return Object.entries(KINDS).find(([, kind]) => kind === error.constructor)?.[0] ?? "AicliError";
}

export function revive(kind: string, message: string): Error {
  const found = KINDS[kind];
  return found ? new found(message) : new Error(message);
}
