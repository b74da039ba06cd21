/**
 * The client of a guest's exports: who owns which memory, and when it is freed.
 *
 * docs/guest-abi.md is the specification. The host owns two blocks in guest memory (the pixels and the request), used
 * again from image to image; the guest owns its results, valid until the next call and therefore read at once.
 */
import { GuestError, GuestFault, GuestMemoryError, GuestTrap, InferenceError } from "../errors.js";
import type { Engine } from "../nn/engine.js";
import { Session } from "../nn/session.js";
import { hostFunctions, MODULE } from "../nn/wasi_nn.js";
import type { ModelFile } from "../tflite/model.js";
import { withMemoryLimit } from "./limits.js";
import { GuestMemory } from "./memory.js";
import {
  type ClassifyRequest, type DetectRequest, extension, FACE_BYTES, MAX_FACES, packClassify, packDetect, PREDICTION_BYTES,
  REQUEST_BYTES, RESULT_BYTES,
} from "./records.js";

const ABI_VERSION = 1;
const TASKS = { classify: "aicli_classify", "detect-faces": "aicli_detect_faces" } as const;
export type Task = keyof typeof TASKS;
/** The parameters of each export that must be there. */
const EXPORTS = { aicli_abi_version: 0, aicli_alloc: 1, aicli_dealloc: 2 };
/** Bit of `aicli_features`: the guest reads classify requests of 148 bytes. */
const KNOWS_LAYOUT = 1;
export const DEFAULT_GUEST_MEMORY = 2 ** 30;

/** RGB, a byte each, rows from top to bottom without padding. */
export interface Pixels {
  readonly data: Uint8Array;
  readonly width: number;
  readonly height: number;
}

interface Block {
  readonly pointer: number;
  readonly size: number;
}

/** One live instance of a guest with its own models and the host's two blocks in its memory. */
class Running {
  readonly session: Session;
  private readonly memory: GuestMemory;
  private readonly functions: Record<string, (...parameters: number[]) => number | undefined>;
  private readonly blocks = new Map<string, Block>();
  readonly features: number;

  constructor(module: WebAssembly.Module, engine: Engine, models: ReadonlyMap<string, ModelFile>, task: Task) {
    this.session = new Session(engine, models);
    let memory: GuestMemory | undefined;
    const imports = hostFunctions(this.session, () => {
      if (!memory) throw new RangeError("the guest has no memory yet");
      return memory;
    });
    let instance: WebAssembly.Instance;
    try {
      instance = new WebAssembly.Instance(module, { [MODULE]: imports });
    } catch (error) {
      throw new GuestError(reason(error));
    }
    const { memory: exported, ...functions } = instance.exports;
    if (!(exported instanceof WebAssembly.Memory)) {
      throw new GuestError("the guest exports no memory named 'memory'; see docs/guest-abi.md");
    }
    memory = this.memory = new GuestMemory(exported);
    this.functions = functions as typeof this.functions;
    for (const [name, parameters] of Object.entries({ ...EXPORTS, [TASKS[task]]: 1 })) {
      const found = this.functions[name];
      if (typeof found !== "function") throw new GuestError(`the guest exports no function ${name}; see docs/guest-abi.md`);
      if (found.length !== parameters) {
        throw new GuestError(`the guest's ${name} has another type than docs/guest-abi.md says`);
      }
    }
    if (this.functions["_initialize"]) this.call("_initialize");
    const version = this.call("aicli_abi_version");
    if (version !== ABI_VERSION) {
      throw new GuestError(`the guest speaks ABI version ${version}, this package speaks ${ABI_VERSION}; rebuild the guest`);
    }
    this.features = this.functions["aicli_features"] ? this.call("aicli_features") : 0;
  }

  private call(name: string, ...parameters: number[]): number {
    const called = this.functions[name];
    if (!called) throw new GuestFault(`the guest exports no function ${name}`);
    try {
      const answer: unknown = called(...parameters);
      return typeof answer === "number" ? answer >>> 0 : 0;
    } catch (error) {
      throw new GuestTrap(`the guest trapped: ${reason(error)}`);
    }
  }

  /** A pointer to at least `size` bytes for this purpose. */
  private block(purpose: string, size: number): number {
    const present = this.blocks.get(purpose);
    if (present && present.size >= size) return present.pointer;
    if (present) {
      this.blocks.delete(purpose);
      this.call("aicli_dealloc", present.pointer, present.size);
    }
    const pointer = this.call("aicli_alloc", size);
    if (pointer === 0) {
      throw new GuestMemoryError(`the guest has no memory for ${size} bytes within its limit; guestMemory gives more`);
    }
    this.memory.bytes(pointer, size);
    // An allocator that hands out overlapping memory would corrupt the image silently.
    for (const other of this.blocks.values()) {
      if (pointer < other.pointer + other.size && other.pointer < pointer + size) {
        throw new GuestFault("the guest's aicli_alloc gave out the same memory twice");
      }
    }
    this.blocks.set(purpose, { pointer, size });
    return pointer;
  }

  /** Calls a task's export for one image; the numbers of every record that it answers with. */
  run<Answer>(
    task: Task,
    { data, width, height }: Pixels,
    pack: (pixels: number, width: number, height: number) => Uint8Array,
    most: number,
    read: (memory: GuestMemory, record: number) => Answer,
  ): Answer[] {
    this.session.lastError = undefined;
    try {
      const place = this.block("pixels", data.length);
      const request = this.block("request", REQUEST_BYTES);
      this.memory.bytes(place, data.length).set(data);
      const record = pack(place, width, height);
      this.memory.bytes(request, record.length).set(record);
      return this.readResult(this.call(TASKS[task], request), most, task === "classify" ? PREDICTION_BYTES : FACE_BYTES, read);
    } catch (error) {
      if (error instanceof RangeError) throw new GuestFault(`the guest gave a pointer outside its memory: ${error.message}`);
      throw error;
    }
  }

  private readResult<Answer>(
    pointer: number,
    most: number,
    size: number,
    read: (memory: GuestMemory, record: number) => Answer,
  ): Answer[] {
    const { memory } = this;
    memory.bytes(pointer, RESULT_BYTES);
    const [status = 0, count = 0, records = 0, message = 0, length = 0, extra = 0] = [0, 4, 8, 12, 16, 20].map((offset) =>
      memory.u32(pointer + offset),
    );
    if (status !== 0) throw this.failure(status, memory.text(message, Math.min(length, 1000)), extra);
    if (count > most) {
      throw new GuestFault(`the guest answered with ${count} records where ${most} are the most there can be`);
    }
    memory.bytes(records, count * size);
    return Array.from({ length: count }, (_, index) => read(memory, records + index * size));
  }

  private failure(status: number, message: string, errno: number): GuestFault {
    const text = message.replace(/[\x00-\x1f\x7f-\x9f]+/g, " ").trim().slice(0, 300) || "it gives no reason";
    if (status === 2) return new InferenceError(`the network failed: ${this.session.lastError ?? text} (errno ${errno})`);
    if (status === 3) return new GuestMemoryError(`the guest ran out of memory: ${text}; guestMemory gives more`);
    if (status === 5) {
      return new InferenceError(
        "the model's scores are not numbers: its input range is another, or its weights are damaged; " +
          "give the right range with inputRange, or take another model",
      );
    }
    return new GuestFault(`the guest failed with status ${status}: ${text}`);
  }
}

function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";
}

/** A guest ready for one task and one set of models. After a fault the instance is dropped, and the next image gets a fresh one. */
export class Guest {
  private readonly module: WebAssembly.Module;
  private running: Running | undefined;

  /** Throws GuestError when the module cannot serve the task. */
  constructor(
    private readonly task: Task,
    private readonly models: ReadonlyMap<string, ModelFile>,
    private readonly engine: Engine,
    code: Uint8Array,
    private readonly source: string,
    memory: number = DEFAULT_GUEST_MEMORY,
  ) {
    try {
      this.module = new WebAssembly.Module(withMemoryLimit(code, memory) as BufferSource);
    } catch (error) {
      throw error instanceof GuestError
        ? new GuestError(`${source}: ${error.message}`)
        : new GuestError(`${source}: no WebAssembly module that runs here: ${reason(error)}`);
    }
    for (const item of WebAssembly.Module.imports(this.module)) {
      if (item.module !== MODULE) {
        throw new GuestError(`${source}: the guest imports ${item.module}.${item.name}; a guest may import ${MODULE} only`);
      }
    }
    this.running = this.start();
  }

  private start(): Running {
    try {
      return new Running(this.module, this.engine, this.models, this.task);
    } catch (error) {
      if (error instanceof GuestError) throw new GuestError(`${this.source}: ${error.message}`);
      throw error;
    }
  }

  /** Throws GuestError unless the guest can serve such requests. */
  require(request: ClassifyRequest): void {
    const needed = extension(request);
    const { features } = (this.running ??= this.start());
    if (needed && !(features & KNOWS_LAYOUT)) {
      throw new GuestError(`${this.source}: this guest does not know ${needed}, which the model has; see docs/guest-abi.md`);
    }
  }

  private run<Answer>(
    pixels: Pixels,
    pack: (pixels: number, width: number, height: number) => Uint8Array,
    most: number,
    read: (memory: GuestMemory, record: number) => Answer,
  ): Answer[] {
    const running = this.running ?? this.start();
    this.running = undefined; // nobody's until it has answered
    try {
      const answer = running.run(this.task, pixels, pack, most, read);
      this.running = running;
      return answer;
    } catch (error) {
      running.session.close();
      throw error;
    }
  }

  /** Classes and scores of one image, best first. */
  classify(pixels: Pixels, request: ClassifyRequest): { index: number; score: number }[] {
    const { classes } = request.output;
    return this.run(
      pixels,
      (place, width, height) => packClassify(request, place, width, height),
      Math.min(request.topK || classes, classes),
      (memory, record) => {
        const [index, score] = [memory.u32(record), memory.f32(record + 4)];
        if (index >= classes || !Number.isFinite(score)) {
          throw new GuestFault("the guest answered with an impossible class or score");
        }
        return { index, score };
      },
    );
  }

  /** Faces of one image as 15 numbers: box x1 y1 x2 y2, score, five landmarks x y; best first. */
  detectFaces(pixels: Pixels, request: DetectRequest): number[][] {
    return this.run(
      pixels,
      (place, width, height) => packDetect(request, place, width, height),
      request.maxFaces || MAX_FACES,
      (memory, record) => {
        const row = Array.from({ length: FACE_BYTES / 4 }, (_, index) => memory.f32(record + 4 * index));
        if (!row.every(Number.isFinite)) throw new GuestFault("the guest answered with an impossible box or score");
        return row;
      },
    );
  }

  /** Gives back what the guest and its networks hold; the next image starts anew. */
  close(): void {
    this.running?.session.close();
    this.running = undefined;
  }
}
