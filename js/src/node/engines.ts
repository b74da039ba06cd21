/** Which engine runs the networks, and where the native library is. */
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { availableParallelism } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { UnavailableError, UsageError } from "../errors.js";
import { type Engine, type EngineName, ENGINES } from "../nn/engine.js";
import { LiteRtNative } from "./litert_native.js";
import { loadLiteRtJs } from "./load_litert_js.js";
import type { ModelFile } from "../tflite/model.js";

const LIBRARY = process.platform === "darwin" ? "libLiteRt.dylib" : "libLiteRt.so";

const natives = new Map<string, LiteRtNative>();

/**
 * The engine asked for by `name`, else by `AICLI_JS_ENGINE`, else the native one where its library and koffi are found,
 * else LiteRT.js. `threads` are for the native one.
 */
export async function chooseEngine(name?: EngineName, threads?: number): Promise<Engine> {
  const wanted = name ?? (process.env["AICLI_JS_ENGINE"] || undefined);
  if (wanted !== undefined && !(ENGINES as readonly string[]).includes(wanted)) {
    throw new UsageError(`there is no engine '${wanted}'; choose one of ${ENGINES.join(", ")}`);
  }
  if (threads !== undefined && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
    throw new UsageError(`threads is a number from 1 to 64, not ${threads}`);
  }
  if (wanted === "wasm") return loadLiteRtJs();
  try {
    return native(threads ?? Math.min(4, availableParallelism()));
  } catch (error) {
    // A library that was named and does not load is an error, one that was found by chance is not.
    if (wanted === "native" || process.env["AICLI_LITERT_LIBRARY"] || !(error instanceof UnavailableError)) throw error;
    return loadLiteRtJs();
  }
}

/** Runs the native engine once in this thread, if it is the one to be taken: before others run it, see litert_native.ts. */
export function tryNative(name: EngineName | undefined, model: ModelFile, shape: readonly number[]): void {
  if ((name ?? process.env["AICLI_JS_ENGINE"]) === "wasm") return;
  try {
    native(1).plan(model, shape).free();
  } catch {
    // who asked for it is told by the thread that wants to run it
  }
}

function native(threads: number): LiteRtNative {
  const library = findLibrary();
  if (!library) {
    throw new UnavailableError(
      `the engine 'native' needs ${LIBRARY}: set AICLI_LITERT_LIBRARY to its path, or run: python3 -m pip install ai-edge-litert`,
    );
  }
  let koffi: typeof import("koffi");
  try {
    koffi = require("koffi") as typeof koffi;
  } catch {
    throw new UnavailableError("the engine 'native' needs the package koffi; run: npm install koffi");
  }
  const key = `${threads} ${library}`;
  const engine = natives.get(key) ?? new LiteRtNative(koffi, library, threads);
  natives.set(key, engine);
  return engine;
}

/** `AICLI_LITERT_LIBRARY`, else the library of ai-edge-litert in the virtual environment or beside a Python on PATH. */
export function findLibrary(): string | undefined {
  const { env } = process;
  const given = env["AICLI_LITERT_LIBRARY"];
  if (given) {
    if (!existsSync(given)) throw new UnavailableError(`${given}: no such file (AICLI_LITERT_LIBRARY)`);
    return given;
  }
  const commands = ["aicli", "python3", "python"];
  const roots = [env["VIRTUAL_ENV"], env["CONDA_PREFIX"]].filter((root) => root !== undefined && root !== "");
  for (const folder of (env["PATH"] ?? "").split(delimiter).filter(Boolean)) {
    for (const command of commands.map((name) => join(folder, name)).filter(existsSync)) {
      roots.push(dirname(folder), dirname(dirname(realpathSync(command))));
    }
  }
  for (const root of new Set(roots as string[])) {
    for (const packages of sitePackages(root)) {
      const library = join(packages, "ai_edge_litert", LIBRARY);
      if (existsSync(library)) return library;
    }
  }
  return undefined;
}

function sitePackages(root: string): string[] {
  try {
    const pythons = readdirSync(join(root, "lib")).filter((name) => /^python3(\.\d+)?$/.test(name));
    return pythons.flatMap((name) => [join(root, "lib", name, "site-packages"), join(root, "lib", name, "dist-packages")]);
  } catch {
    return [];
  }
}
