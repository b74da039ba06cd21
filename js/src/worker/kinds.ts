/** The package's errors by name: an error that leaves a worker is made again outside, of the same class. */
import * as errors from "../errors.js";

const KINDS: Readonly<Record<string, new (message: string) => errors.AicliError>> = errors;

export interface Failure {
  /** The class of the error; another one than the package's is a fault of ours. */
  readonly kind: string;
  readonly message: string;
}

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof errors.AicliError)) return { kind: "", message };
  const kind = Object.entries(KINDS).find(([, known]) => known === error.constructor)?.[0];
  return { kind: kind ?? "AicliError", message };
}

export function revive({ kind, message }: Failure): Error {
  const found = KINDS[kind];
  return found ? new found(message) : new Error(message);
}
