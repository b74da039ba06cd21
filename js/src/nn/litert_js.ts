/**
 * LiteRT.js' WebAssembly build, called through its emscripten objects: `run` answers in the call itself, where the
 * package's public functions give promises. It cannot resize an input, so the shape is written into the model.
 */
import { InferenceError } from "../errors.js";
import { type ModelFile, product } from "../tflite/model.js";
import { ELEMENT_TYPES, type Engine, type Plan } from "./engine.js";

/** What is used of the emscripten module. */
export interface LiteRtModule {
  readonly HEAPU8: Uint8Array;
  _malloc(size: number): number;
  _free(pointer: number): void;
  setupLogging?(): void;
  readonly LiteRtEnvironment: { create(options: null): object };
  readonly VectorInt32: new () => Deletable & { push_back(value: number): void };
  readonly LiteRtLayout: { create(dimensions: object): Deletable };
  readonly LiteRtRankedTensorType: { create(type: { value: number }, layout: object): Deletable };
  readonly LiteRtTensorBufferType: { readonly HOST_MEMORY: object };
  readonly LiteRtTensorBufferLockMode: { readonly READ: object; readonly WRITE: object };
  readonly LiteRtTensorBuffer: { createManaged(environment: object, kind: object, type: object, size: number): TensorBuffer };
  loadModel(environment: object, pointer: number, size: number): Deletable;
  compileModel(environment: object, model: object, options: object): CompiledModel;
}

/** What a build's script exports. */
export type LiteRtFactory = (options: object) => Promise<LiteRtModule>;

/** A module with one relaxed SIMD instruction (`i8x16.relaxed_swizzle`). */
const RELAXED_SIMD = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11,
);

export const hasRelaxedSimd = (): boolean => WebAssembly.validate(RELAXED_SIMD);

/** The name of a build's files in the package's folder wasm/, without suffix. */
export const buildOf = (relaxed: boolean): string => `litert_wasm_${relaxed ? "" : "compat_"}internal`;

interface Deletable {
  delete(): void;
}
interface TensorBuffer extends Deletable {
  lock(mode: object): number;
  unlock(): void;
}
interface CompiledModel extends Deletable {
  run(signature: number, inputs: readonly TensorBuffer[]): TensorBuffer[];
}

export class LiteRtJs implements Engine {
  readonly name = "wasm";
  private readonly environment: object;

  constructor(
    readonly wasm: LiteRtModule,
    readonly description: string,
  ) {
    wasm.setupLogging?.();
    this.environment = wasm.LiteRtEnvironment.create(null);
  }

  plan(model: ModelFile, shape: readonly number[]): Plan {
    try {
      return new WasmPlan(this.wasm, this.environment, model, shape);
    } catch (error) {
      throw new InferenceError(`${model.name}: LiteRT.js cannot run this model: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

class WasmPlan implements Plan {
  private readonly content: number;
  private readonly model: Deletable;
  private readonly compiled: CompiledModel;
  private readonly input: TensorBuffer;
  private readonly sizes: readonly number[];
  private outputs: TensorBuffer[] = [];

  constructor(
    private readonly wasm: LiteRtModule,
    environment: object,
    file: ModelFile,
    shape: readonly number[],
  ) {
    const bytes = file.withInputShape(shape);
    this.content = wasm._malloc(bytes.length); // the compiled model reads its weights from here
    wasm.HEAPU8.set(bytes, this.content);
    this.model = wasm.loadModel(environment, this.content, bytes.length);
    this.compiled = wasm.compileModel(environment, this.model, {
      accelerator: "wasm", cpuOptions: { numThreads: 1 }, gpuOptions: {}, webNNOptions: {}, environment: {},
    });
    const first = file.inputs[0];
    this.input = this.buffer(environment, shape, first?.dtype ?? "float32", product(shape) * (first?.itemSize ?? 4));
    this.sizes = file.outputs.map((output) => output.itemSize);
  }

  private buffer(environment: object, shape: readonly number[], dtype: string, size: number): TensorBuffer {
    const { wasm } = this;
    const dimensions = new wasm.VectorInt32();
    for (const side of shape) dimensions.push_back(side);
    const layout = wasm.LiteRtLayout.create(dimensions);
    const type = wasm.LiteRtRankedTensorType.create({ value: ELEMENT_TYPES[dtype] ?? 1 }, layout);
    const made = wasm.LiteRtTensorBuffer.createManaged(environment, wasm.LiteRtTensorBufferType.HOST_MEMORY, type, size);
    for (const used of [dimensions, layout, type]) used.delete();
    return made;
  }

  write(data: Uint8Array): void {
    const place = this.input.lock(this.wasm.LiteRtTensorBufferLockMode.WRITE);
    this.wasm.HEAPU8.set(data, place);
    this.input.unlock();
  }

  run(): void {
    for (const output of this.outputs) output.delete();
    this.outputs = [];
    this.outputs = this.compiled.run(0, [this.input]);
  }

  read(index: number): Uint8Array {
    const output = this.outputs[index];
    if (!output || !this.sizes[index]) throw new InferenceError(`the network has no output ${index} that can be read`);
    const place = output.lock(this.wasm.LiteRtTensorBufferLockMode.READ);
    const size = packedSize(output);
    output.unlock();
    return this.wasm.HEAPU8.subarray(place, place + size);
  }

  free(): void {
    for (const used of [...this.outputs, this.input, this.compiled, this.model]) used.delete();
    this.outputs = [];
    this.wasm._free(this.content);
  }
}

/** The bytes of a buffer's tensor without what was added for alignment. */
function packedSize(buffer: TensorBuffer): number {
  const sized = buffer as TensorBuffer & { packedSize?(): number; size(): number };
  return sized.packedSize?.() ?? sized.size();
}
