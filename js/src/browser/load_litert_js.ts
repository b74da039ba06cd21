/** Loads LiteRT.js in a worker: its script as a script, its WebAssembly compiled as it comes. */
import { UnavailableError } from "../errors.js";
import { buildOf, hasRelaxedSimd, LiteRtJs, type LiteRtFactory } from "../nn/litert_js.js";
import { addressOf, type Download } from "./files.js";

declare function importScripts(...addresses: string[]): void;

let loaded: Promise<LiteRtJs> | undefined;

/** The engine, loaded once: all tasks share its code and memory. After a failure the next call tries again. */
export function loadLiteRtJs(download: Download): Promise<LiteRtJs> {
  loaded ??= load(download).catch((error: unknown) => {
    loaded = undefined;
    throw error;
  });
  return loaded;
}

async function load(download: Download): Promise<LiteRtJs> {
  const relaxed = hasRelaxedSimd();
  const build = `litert/${buildOf(relaxed)}`;
  const compiling = compile(download, `${build}.wasm`);
  compiling.catch(() => {}); // it is awaited below, after a script that may fail first
  const script = await addressOf(`${build}.js`);
  try {
    importScripts(script);
  } catch {
    throw new UnavailableError(`${build}.js cannot be loaded, and is not kept on this device; connect once`);
  }
  const { ModuleFactory } = self as unknown as { ModuleFactory: LiteRtFactory };
  const module = await compiling;
  const silent = (): void => {};
  const wasm = await ModuleFactory({
    print: silent,
    printErr: silent,
    instantiateWasm: (imports: WebAssembly.Imports, done: (instance: WebAssembly.Instance, module: WebAssembly.Module) => void) => {
      void WebAssembly.instantiate(module, imports).then((instance) => done(instance, module));
      return {};
    },
  });
  return new LiteRtJs(wasm, `LiteRT.js, ${relaxed ? "relaxed SIMD" : "without relaxed SIMD"}`);
}

async function compile(download: Download, path: string): Promise<WebAssembly.Module> {
  const response = await download.response(path, "application/wasm");
  try {
    return await WebAssembly.compileStreaming(response);
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    throw new UnavailableError(`LiteRT.js does not run in this browser (${said}); it needs WebAssembly with SIMD, and 'wasm-unsafe-eval' where a page has a content security policy`);
  }
}
