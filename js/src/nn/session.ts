/**
 * What one guest instance has loaded: graphs and execution contexts by their handles, within limits.
 *
 * Handles are small integers that are never used twice; a context keeps its graph's model alive. Every failure is an
 * {@link NnError} that carries the errno for the guest and the reason for a person.
 */
import { type ModelFile, product, same } from "../tflite/model.js";
import type { Engine, Plan } from "./engine.js";

export const Errno = {
  SUCCESS: 0, INVALID_ARGUMENT: 1, INVALID_ENCODING: 2, MISSING_MEMORY: 3, BUSY: 4, RUNTIME_ERROR: 5,
  UNSUPPORTED_OPERATION: 6, TOO_LARGE: 7, NOT_FOUND: 8,
} as const;

export class NnError extends Error {
  constructor(
    readonly errno: number,
    reason: string,
  ) {
    super(reason);
  }
}

const MAX_GRAPHS = 32;
const MAX_CONTEXTS = 128;
/** Bytes that the inputs of all contexts of a guest may have. */
const MAX_INPUT_BYTES = 2 ** 30;

/** What each tensor type of the witx dialect may feed. It has no number for signed bytes and 16-bit integers. */
const DTYPES: readonly (readonly string[])[] = [
  ["float16"], ["float32"], ["float64"], ["uint8", "int8", "bool", "int16"], ["int32"], ["int64"],
];

class ExecutionContext {
  private plan: Plan | undefined;
  private shape: readonly number[] | undefined;
  private computed = false;
  inputBytes = 0;

  constructor(
    readonly model: ModelFile,
    private readonly engine: Engine,
  ) {}

  /** Checks what the guest gives for an input; the number of bytes that it has then. */
  check(index: number, shape: readonly number[], type: number, size: number): void {
    const { name, inputs } = this.model;
    const input = inputs[index];
    const unknown = this.model.outputs.find(({ itemSize }) => itemSize === 0);
    if (unknown) throw new NnError(Errno.UNSUPPORTED_OPERATION, `${name} has an output whose type this host does not know`);
    if (!input) throw new NnError(Errno.INVALID_ARGUMENT, `${name} has no input ${index}, only ${inputs.length}`);
    const types = DTYPES[type];
    if (!types) throw new NnError(Errno.INVALID_ARGUMENT, `there is no tensor type ${type}`);
    if (!types.includes(input.dtype)) {
      throw new NnError(Errno.INVALID_ARGUMENT, `${name} takes ${input.dtype}, the guest gave ${types[0] ?? type}`);
    }
    const fits =
      shape.length === input.shape.length &&
      shape.every((given, axis) => given > 0 && (input.shape[axis] === -1 || input.shape[axis] === given));
    if (!fits) {
      throw new NnError(Errno.INVALID_ARGUMENT, `${name} takes [${input.shape.join(", ")}], the guest gave [${shape.join(", ")}]`);
    }
    if (size !== product(shape) * input.itemSize) {
      throw new NnError(Errno.INVALID_ARGUMENT, `${size} bytes do not fill a tensor of [${shape.join(", ")}] ${input.dtype}`);
    }
  }

  fill(shape: readonly number[], data: Uint8Array): void {
    if (!this.plan || !this.shape || !same(this.shape, shape)) {
      this.free();
      this.plan = this.engine.plan(this.model, shape);
      this.shape = shape;
      this.inputBytes = data.length;
    }
    this.plan.write(data);
    this.computed = false;
  }

  compute(): void {
    if (!this.plan) throw new NnError(Errno.RUNTIME_ERROR, `${this.model.name} has no input yet`);
    this.plan.run();
    this.computed = true;
  }

  output(index: number): Uint8Array {
    const { name, outputs } = this.model;
    if (!this.plan || !this.computed) {
      throw new NnError(Errno.RUNTIME_ERROR, `${name} has no output before it was computed`);
    }
    if (index >= outputs.length) {
      throw new NnError(Errno.INVALID_ARGUMENT, `${name} has no output ${index}, only ${outputs.length}`);
    }
    return this.plan.read(index);
  }

  free(): void {
    this.plan?.free();
    this.plan = undefined;
    this.computed = false;
    this.inputBytes = 0;
  }
}

export class Session {
  /** Why the last call failed. */
  lastError: string | undefined;
  private readonly graphs = new Map<number, ModelFile>();
  private readonly contexts = new Map<number, ExecutionContext>();
  private lastHandle = 0;

  constructor(
    private readonly engine: Engine,
    private readonly models: ReadonlyMap<string, ModelFile>,
  ) {}

  loadByName(name: string): number {
    const model = this.models.get(name);
    if (!model) {
      const known = [...this.models.keys()].sort().join(", ");
      throw new NnError(Errno.NOT_FOUND, `the guest asked for a model '${name}'; there is ${known}`);
    }
    if (this.graphs.size >= MAX_GRAPHS) {
      throw new NnError(Errno.BUSY, `the guest holds ${MAX_GRAPHS} graphs, which is the limit`);
    }
    this.graphs.set(++this.lastHandle, model);
    return this.lastHandle;
  }

  initExecutionContext(graph: number): number {
    const model = this.graphs.get(graph);
    if (!model) throw new NnError(Errno.INVALID_ARGUMENT, `there is no graph ${graph}`);
    if (this.contexts.size >= MAX_CONTEXTS) {
      throw new NnError(Errno.BUSY, `the guest holds ${MAX_CONTEXTS} execution contexts, which is the limit`);
    }
    this.contexts.set(++this.lastHandle, new ExecutionContext(model, this.engine));
    return this.lastHandle;
  }

  private context(handle: number): ExecutionContext {
    const found = this.contexts.get(handle);
    if (!found) throw new NnError(Errno.INVALID_ARGUMENT, `there is no execution context ${handle}`);
    return found;
  }

  setInput(handle: number, index: number, shape: readonly number[], type: number, data: Uint8Array): void {
    const context = this.context(handle);
    context.check(index, shape, type, data.length);
    let held = data.length - context.inputBytes;
    for (const other of this.contexts.values()) held += other.inputBytes;
    if (held > MAX_INPUT_BYTES) {
      throw new NnError(Errno.TOO_LARGE, `the inputs of the guest's contexts have more than ${MAX_INPUT_BYTES} bytes`);
    }
    context.fill(shape, data);
  }

  compute(handle: number): void {
    this.context(handle).compute();
  }

  output(handle: number, index: number): Uint8Array {
    return this.context(handle).output(index);
  }

  finalizeExecutionContext(handle: number): void {
    this.context(handle).free();
    this.contexts.delete(handle);
  }

  unload(handle: number): void {
    if (!this.graphs.delete(handle)) throw new NnError(Errno.INVALID_ARGUMENT, `there is no graph ${handle}`);
  }

  /** Ends the session: the engine gets back what its contexts hold. */
  close(): void {
    for (const context of this.contexts.values()) context.free();
    this.contexts.clear();
    this.graphs.clear();
  }
}
