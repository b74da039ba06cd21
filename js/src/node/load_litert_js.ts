/** Loads LiteRT.js in Node, where the package's own loader asks for a document. */
import { readFileSync } from "node:fs";
import Module from "node:module";
import { dirname, join } from "node:path";
import v8 from "node:v8";
import { UnavailableError } from "../errors.js";
import { buildOf, hasRelaxedSimd, LiteRtJs, type LiteRtFactory } from "../nn/litert_js.js";

let loaded: Promise<LiteRtJs> | undefined;

/** The engine, loaded once: two detectors share its code and memory. */
export function loadLiteRtJs(): Promise<LiteRtJs> {
  return (loaded ??= load());
}

async function load(): Promise<LiteRtJs> {
  // Node 20 has the instructions behind a flag.
  if (!hasRelaxedSimd()) v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
  const relaxed = hasRelaxedSimd();
  let folder: string;
  try {
    folder = join(dirname(require.resolve("@litertjs/core")), "..", "wasm");
  } catch {
    throw new UnavailableError("the engine 'wasm' needs the package @litertjs/core; run: npm install @litertjs/core");
  }
  const factory = evaluate(join(folder, `${buildOf(relaxed)}.js`));
  const silent = (): void => {};
  const wasm = await factory({ locateFile: (file: string) => join(folder, file), print: silent, printErr: silent });
  return new LiteRtJs(wasm, `LiteRT.js, ${relaxed ? "relaxed SIMD" : "without relaxed SIMD"}`);
}

/** The export of a CommonJS file whose package says that it is an ES module: `require` refuses it, so it is compiled here. */
function evaluate(path: string): LiteRtFactory {
  const made = new Module(path) as Module & { _compile(source: string, path: string): void };
  made.filename = path;
  made._compile(readFileSync(path, "utf8"), path);
  return made.exports as LiteRtFactory;
}
