import { DamagedError, root, Table, view } from "./flatbuffer.js";

/** Source: TensorFlow Lite's `schema.fbs`, version 3. */
const TYPES = [
  "float32", "float16", "int32", "uint8", "int64", "string", "bool", "int16", "complex64", "int8", "float64",
] as const;
export type DType = (typeof TYPES)[number];

const SIZES: Partial<Record<DType, number>> = {
  float32: 4, float16: 2, int32: 4, uint8: 1, int64: 8, bool: 1, int16: 2, int8: 1, float64: 8,
};

/** BuiltinOperator numbers that tell what an output is, or how a shape goes on. */
const OP = {
  ADD: 0, AVERAGE_POOL_2D: 1, CONV_2D: 3, DEPTHWISE_CONV_2D: 4, DEQUANTIZE: 6, FULLY_CONNECTED: 9, LOGISTIC: 14,
  MAX_POOL_2D: 17, RESHAPE: 22, SOFTMAX: 25, SQUEEZE: 43, LOG_SOFTMAX: 50, QUANTIZE: 114, BATCH_MATMUL: 126,
} as const;
const LOGIT_MAKERS: readonly number[] = [OP.FULLY_CONNECTED, OP.CONV_2D, OP.LOG_SOFTMAX, OP.BATCH_MATMUL];
const SHAPE_ONLY: readonly number[] = [OP.RESHAPE, OP.SQUEEZE, OP.DEQUANTIZE, OP.QUANTIZE];

/** A tensor of the first graph. In `shape`, -1 is a dimension that the model leaves open. */
export interface Tensor {
  readonly name: string;
  readonly dtype: DType;
  readonly itemSize: number;
  readonly shape: readonly number[];
  readonly stored: readonly number[];
  /** 0 where the tensor is not quantised. */
  readonly scale: number;
  readonly zeroPoint: number;
  /** Where the numbers of `shape` and `shape_signature` stand in the file; 0 for one that is absent. */
  readonly shapeAt: number;
  readonly signatureAt: number;
}

export type OutputKind = "unknown" | "probabilities" | "logits";

interface Operator {
  readonly code: number;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly options: Table | undefined;
}

/** A .tflite file and what it says about itself. */
export class ModelFile {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** The block that describes the model (identifier M001), where the file has one. */
  readonly metadata: Uint8Array | undefined;
  /** What `aicli train` wrote into the file. */
  readonly trained: Uint8Array | undefined;
  private readonly tensors: readonly Tensor[];
  private readonly operators: readonly Operator[];
  private readonly outputNumbers: readonly number[];
  private readonly inputNumbers: readonly number[];

  /** Throws {@link DamagedError} for bytes that are no TFLite model. */
  constructor(
    readonly name: string,
    readonly bytes: Uint8Array,
  ) {
    const model = root(bytes, "TFL3");
    const graph = model.tables(2)[0];
    if (!graph) throw new DamagedError("it contains no graph");
    this.tensors = graph.tables(0).map(readTensor);
    const codes = model.tables(1).map((code) => Math.max(code.u8(0), code.i32(3)));
    this.operators = graph.tables(3).map((operator) => ({
      code: codes[operator.i32(0)] ?? -1,
      inputs: operator.i32s(1),
      outputs: operator.i32s(2),
      options: operator.table(4),
    }));
    this.inputNumbers = graph.i32s(1);
    this.outputNumbers = graph.i32s(2);
    this.inputs = this.inputNumbers.map((number) => this.tensor(number));
    this.outputs = this.outputNumbers.map((number) => this.tensor(number));
    const block = (name: string): Uint8Array | undefined => {
      const found = model.tables(6).find((entry) => entry.text(0) === name);
      return found && model.tables(4)[found.i32(1)]?.bytes(0);
    };
    this.metadata = block("TFLITE_METADATA");
    this.trained = block("AICLI_CLASSIFIER");
  }

  private tensor(number: number): Tensor {
    const found = this.tensors[number];
    if (!found) throw new DamagedError(`it names a tensor ${number} of ${this.tensors.length}`);
    return found;
  }

  /** Probabilities or logits, by the last operator that changes the values of this output. */
  kind(output: number): OutputKind {
    let tensor = this.outputNumbers[output];
    let added = false;
    for (const { code, inputs, outputs } of [...this.operators].reverse()) {
      if (tensor === undefined || !outputs.includes(tensor)) continue;
      if (code === OP.SOFTMAX || code === OP.LOGISTIC) return added ? "unknown" : "probabilities";
      if (LOGIT_MAKERS.includes(code)) return "logits";
      if (!SHAPE_ONLY.includes(code) && code !== OP.ADD) return "unknown";
      added ||= code === OP.ADD;
      tensor = inputs[0];
    }
    return "unknown";
  }

  /**
   * The file with fixed shapes for an input of `shape`, for an engine that cannot resize: the numbers are overwritten in
   * a copy, every tensor's that has a signature. Open dimensions are followed from operator to operator.
   */
  withInputShape(shape: readonly number[]): Uint8Array {
    const input = this.inputNumbers[0];
    if (input === undefined || !this.tensor(input).shape.includes(-1)) return this.bytes;
    const known = new Map<number, readonly number[]>([[input, shape]]);
    for (const operator of this.operators) {
      const source = operator.inputs.find((number) => known.has(number));
      if (source === undefined) continue;
      const from = known.get(source) ?? [];
      for (const number of operator.outputs) {
        const tensor = this.tensor(number);
        if (tensor.shape.includes(-1)) known.set(number, this.follow(operator, from, tensor));
      }
    }
    const copy = this.bytes.slice();
    const data = view(copy);
    for (const [number, fixed] of known) {
      const { shapeAt, signatureAt } = this.tensor(number);
      fixed.forEach((size, axis) => {
        data.setInt32(shapeAt + 4 * axis, size, true);
        if (signatureAt) data.setInt32(signatureAt + 4 * axis, size, true);
      });
    }
    return copy;
  }

  /** The shape of an operator's output for an input of the shape `from`. */
  private follow(operator: Operator, from: readonly number[], output: Tensor): number[] {
    const { code, options } = operator;
    const pool = code === OP.MAX_POOL_2D || code === OP.AVERAGE_POOL_2D;
    const kernel = code === OP.CONV_2D || code === OP.DEPTHWISE_CONV_2D;
    return output.shape.map((size, axis) => {
      if (size !== -1) return size;
      const before = from[axis] ?? 1;
      if ((!pool && !kernel) || axis < 1 || axis > 2 || !options) return before;
      // padding, stride_w, stride_h come first in all three; a pool's filter_width and filter_height follow.
      const stride = options.i32(axis === 1 ? 2 : 1, 1);
      if (options.u8(0) === 0) return Math.ceil(before / stride);
      const weights = operator.inputs[1];
      const extent = pool || weights === undefined ? options.i32(axis === 1 ? 4 : 3, 1) : (this.tensor(weights).stored[axis] ?? 1);
      return Math.floor((before - extent) / stride) + 1;
    });
  }
}

function readTensor(table: Table): Tensor {
  const stored = table.i32s(0);
  const signature = table.i32s(7);
  const dtype = TYPES[table.u8(1)] ?? "string";
  const quantisation = table.table(4);
  const open = signature.length === stored.length && signature.length > 0;
  return {
    name: table.text(3),
    dtype,
    itemSize: SIZES[dtype] ?? 0,
    shape: open ? signature : stored,
    stored,
    scale: quantisation?.f32s(2)[0] ?? 0,
    zeroPoint: quantisation?.i64s(3)[0] ?? 0,
    shapeAt: table.vector(0, 4).begin,
    signatureAt: open ? table.vector(7, 4).begin : 0,
  };
}

export function same(first: readonly number[], second: readonly number[]): boolean {
  return first.length === second.length && first.every((value, index) => value === second[index]);
}

export function product(shape: readonly number[]): number {
  return shape.reduce((all, size) => all * size, 1);
}
