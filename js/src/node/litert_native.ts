/** The native LiteRT library through its C API: the library that ai-edge-litert carries.  All calls are synchronous. */
import { closeSync, constants, openSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { InferenceError, UnavailableError } from "../errors.js";
import { type ModelFile, product, same } from "../tflite/model.js";
import { ELEMENT_TYPES, type Engine, type Plan } from "../nn/engine.js";

type Handle = unknown;
type Call = (...parameters: unknown[]) => number;
type Koffi = typeof import("koffi");

const CPU = 1; // LiteRtHwAccelerators
/** Environment options (LiteRtEnvOptionTag) and their integers: no search for other accelerators, errors only in the log. */
const ENVIRONMENT = [
  [24, CPU], // AutoRegisterAccelerators
  [25, 3], // MinLoggerSeverity: error
] as const;
const ENVIRONMENT_OPTION_BYTES = 24; // tag, then a LiteRtAny: type (2 = integer) and 64 bits
const LAYOUT_BYTES = 68; // LiteRtLayout: rank and flags, then eight dimensions, then eight strides
const TYPE_BYTES = 72; // LiteRtRankedTensorType: element type, then a layout

const FUNCTIONS = {
  LiteRtCreateEnvironment: "int LiteRtCreateEnvironment(int count, void *options, _Out_ void **environment)",
  LiteRtCreateModelFromBuffer: "int LiteRtCreateModelFromBuffer(void *environment, const void *data, size_t size, _Out_ void **model)",
  LiteRtCreateOptions: "int LiteRtCreateOptions(_Out_ void **options)",
  LiteRtSetOptionsHardwareAccelerators: "int LiteRtSetOptionsHardwareAccelerators(void *options, int set)",
  LiteRtCreateOpaqueOptions: "int LiteRtCreateOpaqueOptions(const char *id, void *data, void *destructor, _Out_ void **options)",
  LiteRtAddOpaqueOptions: "int LiteRtAddOpaqueOptions(void *options, void *opaque)",
  LiteRtCreateCompiledModel: "int LiteRtCreateCompiledModel(void *environment, void *model, void *options, _Out_ void **compiled)",
  LiteRtCompiledModelResizeInputTensor: "int LiteRtCompiledModelResizeInputTensor(void *compiled, size_t signature, size_t index, const int *dimensions, size_t rank)",
  LiteRtGetCompiledModelOutputTensorLayouts: "int LiteRtGetCompiledModelOutputTensorLayouts(void *compiled, size_t signature, size_t count, void *layouts, bool update)",
  LiteRtCreateManagedTensorBuffer: "int LiteRtCreateManagedTensorBuffer(void *environment, int kind, void *type, size_t size, _Out_ void **buffer)",
  LiteRtGetTensorBufferHostMemory: "int LiteRtGetTensorBufferHostMemory(void *buffer, _Out_ void **memory)",
  LiteRtRunCompiledModel: "int LiteRtRunCompiledModel(void *compiled, size_t signature, size_t inputs, void *input, size_t outputs, void *output)",
  LiteRtDestroyTensorBuffer: "void LiteRtDestroyTensorBuffer(void *buffer)",
  LiteRtDestroyCompiledModel: "void LiteRtDestroyCompiledModel(void *compiled)",
  LiteRtDestroyOptions: "void LiteRtDestroyOptions(void *options)",
  LiteRtDestroyModel: "void LiteRtDestroyModel(void *model)",
} as const;
type Name = keyof typeof FUNCTIONS;

/** Standard error is the process's: a thread leaves it alone, as it may be ended before it has put it back. */
let announced = !isMainThread;

export class LiteRtNative implements Engine {
  readonly name = "native";
  readonly description: string;
  private readonly functions: Record<Name, Call>;
  private readonly environment: Handle;
  private readonly destructor: unknown;
  private readonly duplicate: (text: string) => unknown;
  private readonly dup: (descriptor: number) => number;
  private readonly dup2: (from: number, to: number) => number;

  /** Throws UnavailableError where `library` is no LiteRT library that loads here. */
  constructor(
    readonly koffi: Koffi,
    library: string,
    private readonly threads: number,
  ) {
    try {
      const loaded = koffi.load(library);
      const functions: Partial<Record<Name, Call>> = {};
      for (const name of Object.keys(FUNCTIONS) as Name[]) functions[name] = loaded.func(FUNCTIONS[name]) as Call;
      this.functions = functions as Record<Name, Call>;
      // Options want a destructor; the C library's own `free` does it without a call back into JavaScript.
      const libc = koffi.load(null);
      this.duplicate = libc.func("void *strdup(const char *text)") as (text: string) => unknown;
      this.dup = libc.func("int dup(int descriptor)") as (descriptor: number) => number;
      this.dup2 = libc.func("int dup2(int from, int to)") as (from: number, to: number) => number;
      this.destructor = libc.symbol("free", "void");
    } catch (error) {
      throw new UnavailableError(`${library}: no LiteRT library that loads here: ${error instanceof Error ? error.message : String(error)}`);
    }
    const options = Buffer.alloc(ENVIRONMENT_OPTION_BYTES * ENVIRONMENT.length);
    ENVIRONMENT.forEach(([tag, value], index) => {
      options.writeInt32LE(tag, ENVIRONMENT_OPTION_BYTES * index);
      options.writeInt32LE(2, ENVIRONMENT_OPTION_BYTES * index + 8);
      options.writeBigInt64LE(BigInt(value), ENVIRONMENT_OPTION_BYTES * index + 16);
    });
    this.environment = this.create("LiteRtCreateEnvironment", ENVIRONMENT.length, options);
    this.description = `LiteRT, ${threads} ${threads === 1 ? "thread" : "threads"}, ${library}`;
  }

  call(name: Name, ...parameters: unknown[]): void {
    const status = this.functions[name](...parameters);
    if (status) throw new InferenceError(`LiteRT: ${name} failed with status ${status}`);
  }

  /** Calls a function whose last parameter is where it puts what it makes. */
  create(name: Name, ...parameters: unknown[]): Handle {
    const out: [Handle] = [null];
    this.call(name, ...parameters, out);
    return out[0];
  }

  destroy(name: Name, handle: Handle): void {
    this.functions[name](handle);
  }

  buffer(shape: readonly number[], dtype: string, size: number): NativeBuffer {
    const type = Buffer.alloc(TYPE_BYTES);
    type.writeInt32LE(ELEMENT_TYPES[dtype] ?? 1, 0);
    type.writeUInt32LE(shape.length, 4);
    shape.forEach((side, axis) => type.writeInt32LE(side, 8 + 4 * axis));
    const handle = this.create("LiteRtCreateManagedTensorBuffer", this.environment, 1, type, size);
    const memory = this.create("LiteRtGetTensorBufferHostMemory", handle);
    return { handle, bytes: new Uint8Array(this.koffi.view(memory, size)) };
  }

  model(bytes: Uint8Array): Handle {
    return this.create("LiteRtCreateModelFromBuffer", this.environment, bytes, bytes.length);
  }

  compile(model: Handle): Handle {
    const options = this.create("LiteRtCreateOptions");
    this.call("LiteRtSetOptionsHardwareAccelerators", options, CPU);
    const text = this.duplicate(`num_threads = ${this.threads}\n`);
    this.call("LiteRtAddOpaqueOptions", options, this.create("LiteRtCreateOpaqueOptions", "xnnpack", text, this.destructor));
    try {
      return this.withoutAnnouncement(() => this.create("LiteRtCreateCompiledModel", this.environment, model, options));
    } finally {
      this.destroy("LiteRtDestroyOptions", options);
    }
  }

  /** XNNPACK says on standard error that it is used, once in a process, below any logger that can be set. */
  private withoutAnnouncement<Made>(make: () => Made): Made {
    if (announced) return make();
    announced = true;
    const kept = this.dup(2);
    const nothing = openSync("/dev/null", constants.O_WRONLY);
    this.dup2(nothing, 2);
    try {
      return make();
    } finally {
      this.dup2(kept, 2);
      closeSync(kept);
      closeSync(nothing);
    }
  }

  plan(model: ModelFile, shape: readonly number[]): Plan {
    return new NativePlan(this, model, shape);
  }
}

interface NativeBuffer {
  readonly handle: Handle;
  readonly bytes: Uint8Array;
}

class NativePlan implements Plan {
  private readonly model: Handle;
  private readonly compiled: Handle;
  private readonly input: NativeBuffer;
  private readonly outputs: readonly NativeBuffer[];
  private readonly inputHandles: unknown;
  private readonly outputHandles: unknown;

  constructor(
    private readonly engine: LiteRtNative,
    private readonly file: ModelFile, // its bytes are read as long as the model lives
    shape: readonly number[],
  ) {
    const { koffi } = engine;
    this.model = engine.model(file.bytes);
    this.compiled = engine.compile(this.model);
    const first = file.inputs[0];
    if (first && !same(first.stored, shape)) {
      engine.call("LiteRtCompiledModelResizeInputTensor", this.compiled, 0, 0, Int32Array.from(shape), shape.length);
    }
    this.input = engine.buffer(shape, first?.dtype ?? "float32", product(shape) * (first?.itemSize ?? 4));
    this.outputs = this.layouts().map((dimensions, index) => {
      const { dtype, itemSize } = file.outputs[index] ?? { dtype: "float32", itemSize: 4 };
      return engine.buffer(dimensions, dtype, product(dimensions) * itemSize);
    });
    this.inputHandles = koffi.alloc("void *", 1);
    koffi.encode(this.inputHandles, "void *", this.input.handle);
    this.outputHandles = koffi.alloc("void *", this.outputs.length);
    const size = koffi.sizeof("void *");
    this.outputs.forEach(({ handle }, index) => koffi.encode(this.outputHandles, index * size, "void *", handle));
  }

  /** The shapes of the outputs for the input's shape. */
  private layouts(): number[][] {
    const count = this.file.outputs.length;
    const layouts = Buffer.alloc(LAYOUT_BYTES * count);
    this.engine.call("LiteRtGetCompiledModelOutputTensorLayouts", this.compiled, 0, count, layouts, true);
    return Array.from({ length: count }, (_, index) => {
      const start = LAYOUT_BYTES * index;
      const rank = layouts.readUInt32LE(start) & 127;
      return Array.from({ length: rank }, (_, axis) => layouts.readInt32LE(start + 4 + 4 * axis));
    });
  }

  write(data: Uint8Array): void {
    this.input.bytes.set(data);
  }

  run(): void {
    this.engine.call("LiteRtRunCompiledModel", this.compiled, 0, 1, this.inputHandles, this.outputs.length, this.outputHandles);
  }

  read(index: number): Uint8Array {
    const output = this.outputs[index];
    if (!output) throw new InferenceError(`the network has no output ${index}`);
    return output.bytes;
  }

  free(): void {
    for (const { handle } of [this.input, ...this.outputs]) this.engine.destroy("LiteRtDestroyTensorBuffer", handle);
    this.engine.destroy("LiteRtDestroyCompiledModel", this.compiled);
    this.engine.destroy("LiteRtDestroyModel", this.model);
    this.engine.koffi.free(this.inputHandles);
    this.engine.koffi.free(this.outputHandles);
  }
}
