/** Why the system refused something, in its own words. */
import { getSystemErrorMap } from "node:util";

/** "no such file or directory" for ENOENT; the message of an error that is none of the system's. */
export function reason(error: unknown): string {
  const { errno, code } = error as NodeJS.ErrnoException;
  const [, words] = (errno === undefined ? undefined : getSystemErrorMap().get(errno)) ?? [];
  return words ?? code ?? (error instanceof Error ? error.message : String(error));
}
