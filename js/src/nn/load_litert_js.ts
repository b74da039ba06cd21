/** Loads LiteRT.js in Node, where the package's own loader asks for a document. */
import { readFileSync } from "node:fs";
import Module from "node:module";
import { dirname, join } from "node:path";
import v8 from "node:v8";
import { UnavailableError } from "../errors.js";
import { LiteRtJs, type LiteRtModule } from "./litert_js.js";

/** A module with one relaxed SIMD instruction (`i8x16.relaxed_swizzle`). */
const RELAXED_SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
);

type Factory = (options: object) => Promise<LiteRtModule>;

let loaded: Promise<LiteRtJs> | undefined;

/** The engine, loaded once: two detectors share its code and memory. */
export function loadLiteRtJs(): Promise<LiteRtJs> {
  return (loaded ??= load());
}

async function load(): Promise<LiteRtJs> {
  // Node 20 has the instructions behind a flag.
  if (!WebAssembly.validate(RELAXED_SIMD)) v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
  const relaxed = WebAssembly.validate(RELAXED_SIMD);
  const variant = relaxed ? "" : "compat_";
  let folder: string;
  try {
    folder = join(dirname(require.resolve("@litertjs/core")), "..", "wasm");
  } catch {
    throw new UnavailableError("the engine 'wasm' needs the package @litertjs/core; run: npm install @litertjs/core");
  }
  const factory = evaluate(join(folder, `litert_wasm_${variant}internal.js`));
  const silent = (): void => {};
  const wasm = await factory({ locateFile: (file: string) => join(folder, file), print: silent, printErr: silent });
  return new LiteRtJs(wasm, `LiteRT.js, ${relaxed ? "relaxed SIMD" : "without relaxed SIMD"}`);
}

/** The export of a CommonJS file whose package says that it is an ES module: `require` refuses it, so it is compiled here. */
function evaluate(path: string): Factory {
  const made = new Module(path) as Module & { _compile(source: string, path: string): void };
  made.filename = path;
  made._compile(readFileSync(path, "utf8"), path);
  return made.exports as Factory;
}
