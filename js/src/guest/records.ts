/** The records of docs/guest-abi.md, byte for byte. */
import type { DType, OutputKind } from "../tflite/model.js";

export type Triple = readonly [number, number, number];

/** An input tensor and the way from pixels (0 to 255) to it: `real = (pixel - mean) / std`, then quantised. */
export interface InputSpec {
  readonly width: number;
  readonly height: number;
  readonly dtype: DType;
  readonly scale: number;
  readonly zeroPoint: number;
  readonly mean: Triple;
  readonly std: Triple;
  readonly channels: "rgb" | "bgr";
  readonly crop: "squash" | "crop" | "pad";
  readonly filter: "bilinear" | "bicubic";
  readonly shape: readonly number[];
  readonly depth: number;
  readonly batch: number;
  readonly planar: boolean;
}

/** The output tensor to read: one value a class, or one for all (`binary`). */
export interface OutputSpec {
  readonly tensor: number;
  readonly classes: number;
  readonly dtype: DType;
  readonly scale: number;
  readonly zeroPoint: number;
  readonly kind: OutputKind;
  readonly binary: boolean;
}

export interface ClassifyRequest {
  readonly input: InputSpec;
  readonly output: OutputSpec;
  readonly topK: number;
  readonly minScore: number;
}

export interface DetectRequest {
  readonly minSize: number;
  readonly thresholds: Triple;
  readonly factor: number;
  readonly mean: number;
  readonly std: number;
  readonly channels: "rgb" | "bgr";
  readonly maxFaces: number;
  /** The networks take the pixels as they are, whatever `mean` and `std`. */
  readonly raw: boolean;
}

const CLASSIFY_BYTES = 112;
const EXTENDED_BYTES = 148;
const DETECT_BYTES = 64;
/** Room for any request. */
export const REQUEST_BYTES = EXTENDED_BYTES;
export const RESULT_BYTES = 24;
export const PREDICTION_BYTES = 8;
export const FACE_BYTES = 60;
/** More than an image of 100 megapixels has room for; a guest that claims more is wrong. */
export const MAX_FACES = 2 ** 17;

const UINT8 = 3;
const DTYPE_CODES: Partial<Record<DType, number>> = { float16: 0, float32: 1, uint8: UINT8, int8: 7, int16: 8 };
const CROP_CODES = { squash: 0, crop: 1, pad: 2 };
const FILTER_CODES = { bilinear: 0, bicubic: 1 };
const CHANNEL_CODES = { rgb: 0, bgr: 1 };
const KIND_CODES = { unknown: 0, probabilities: 1, logits: 2 };

class Packer {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private place = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  u32(...values: number[]): this {
    for (const value of values) {
      this.view.setUint32(this.place, value, true);
      this.place += 4;
    }
    return this;
  }

  f32(...values: number[]): this {
    for (const value of values) {
      this.view.setFloat32(this.place, value, true);
      this.place += 4;
    }
    return this;
  }
}

/** What a request needs beyond a record of 112 bytes, in a person's words; empty for most models. */
export function extension({ input, output }: ClassifyRequest): string {
  const usual = [1, input.height, input.width, 3];
  if (input.planar || input.shape.join() !== usual.join()) return `an input of ${input.shape.join("x")}`;
  if (input.dtype === "int16" || output.dtype === "int16") return "16-bit integers";
  return output.binary ? "an output of one value" : "";
}

export function packClassify(request: ClassifyRequest, pixels: number, width: number, height: number): Uint8Array {
  const { input, output, topK, minScore } = request;
  const size = extension(request) ? EXTENDED_BYTES : CLASSIFY_BYTES;
  const record = new Packer(size)
    .u32(size, pixels, width, height, topK)
    .f32(minScore)
    .u32(input.width, input.height, DTYPE_CODES[input.dtype] ?? 1)
    .f32(input.scale)
    .u32(input.zeroPoint)
    .f32(...input.mean, ...input.std)
    .u32(CHANNEL_CODES[input.channels], CROP_CODES[input.crop], FILTER_CODES[input.filter])
    .u32(output.tensor, output.classes, DTYPE_CODES[output.dtype] ?? 1)
    .f32(output.scale)
    .u32(output.zeroPoint, KIND_CODES[output.kind], 0, 0);
  if (size === EXTENDED_BYTES) {
    const dimensions = [...input.shape, 1, 1, 1, 1].slice(0, 4);
    record.u32(input.shape.length, ...dimensions, Number(input.planar), input.depth, input.batch, Number(output.binary));
  }
  return record.bytes;
}

export function packDetect(request: DetectRequest, pixels: number, width: number, height: number): Uint8Array {
  return new Packer(DETECT_BYTES)
    .u32(DETECT_BYTES, pixels, width, height)
    .f32(request.minSize, ...request.thresholds, request.factor, request.mean, request.std)
    .u32(CHANNEL_CODES[request.channels], request.maxFaces, request.raw ? UINT8 : 0, 0, 0).bytes;
}
