/** What the tasks run on in Node: an engine of this machine, and the guest from a file. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GuestError } from "../errors.js";
import { DEFAULT_GUEST_MEMORY } from "../guest/guest.js";
import type { EngineName } from "../nn/engine.js";
import { type Host, inRange, type Names, SHARED, type SharedOptions } from "../options.js";
import { chooseEngine } from "./engines.js";
import { DATA } from "./models.js";
import { reason } from "./reason.js";

export interface NodeOptions extends SharedOptions {
  /** `native`: the LiteRT library; `wasm`: LiteRT.js. Default: native where it is found. */
  readonly engine?: EngineName | undefined;
  /** Threads of the native engine. Default: the cores, four at most. */
  readonly threads?: number | undefined;
  /** The path of a WebAssembly module to run instead of the packaged one, in a thread of its own. */
  readonly guest?: string | undefined;
  /**
   * Seconds that the guest may take for one image, 60 where `guest` is given. Without either, the packaged guest runs in
   * the calling thread, for as long as it takes.
   */
  readonly guestTimeout?: number | undefined;
}

export const NODE: Names<NodeOptions> = { ...SHARED, engine: true, threads: true, guest: true, guestTimeout: true };

export async function loadHost(options: NodeOptions): Promise<Host> {
  const engine = await chooseEngine(options.engine, options.threads);
  const path = options.guest ?? join(DATA, "aicli_guest.wasm");
  const guestMemory = inRange("guestMemory", options.guestMemory ?? DEFAULT_GUEST_MEMORY, 65536, 2 ** 32);
  try {
    return { engine, code: readFileSync(path), source: options.guest ?? "the packaged guest", guestMemory };
  } catch (error) {
    throw new GuestError(`cannot read the guest ${path} (${reason(error)})`);
  }
}
