/** From a model's file and what the catalog or a person says about it to what the guest is told. */
import { LabelsError, ModelError, UsageError } from "../errors.js";
import type { InputSpec, OutputSpec } from "../guest/records.js";
import type { ModelFile, Tensor } from "../tflite/model.js";
import type { Names } from "../options.js";
import { exactFeeding, type Feeding, fromMeanStd, fromRange, triple } from "./ranges.js";

/** What the catalog says about an input; every field may be absent. */
export interface KnownInput {
  readonly width?: number;
  readonly height?: number;
  readonly channels?: string;
  readonly mean?: number | readonly number[];
  readonly std?: number | readonly number[];
  readonly crop?: string;
  readonly filter?: string;
  /** The user's own entry, decided when it was registered. */
  readonly exact?: boolean;
}

/** What a person says about the input. */
export interface FeedingOptions {
  /** What pixels of 0 and 255 become, such as [0, 1] or [-1, 1]. */
  readonly inputRange?: readonly number[] | undefined;
  /** Mean of red, green, blue, with `std`: in 0 to 1 (torchvision) or 0 to 255 (Caffe). */
  readonly mean?: number | readonly number[] | undefined;
  readonly std?: number | readonly number[] | undefined;
  /** How a photo of another aspect ratio is fitted to the input. */
  readonly resize?: "squash" | "crop" | "pad" | undefined;
  readonly channels?: "rgb" | "bgr" | undefined;
}

export const FEEDING: Names<FeedingOptions> = { inputRange: true, mean: true, std: true, resize: true, channels: true };

const DEFAULT_SIDE = 224;
const MAX_SIDE = 8192;
const MAX_BATCH = 1024;
const MAX_CLASSES = 1_000_000;
const INPUT_TYPES = ["uint8", "int8", "float32", "float16", "int16"];

/** Where the axes of an image input are; undefined for one that it does not have. */
interface Axes {
  readonly height: number;
  readonly width: number;
  readonly batch?: number;
  readonly channels?: number;
}

function axesOf({ shape }: Tensor): Axes | undefined {
  const [first, second, third, fourth] = shape;
  if (shape.length === 4) {
    if (fourth === 3 || (fourth === -1 && second !== 1 && second !== 3)) return { height: 1, width: 2, batch: 0, channels: 3 };
    if (second === 3 || (second === 1 && fourth !== 1)) return { height: 2, width: 3, batch: 0, channels: 1 };
    return fourth === 1 ? { height: 1, width: 2, batch: 0, channels: 3 } : undefined;
  }
  if (shape.length === 3) {
    if (third === 3) return { height: 0, width: 1, channels: 2 };
    if (first === 3) return { height: 1, width: 2, channels: 0 };
    if (third === 1 && first !== 1 && first !== -1) return { height: 0, width: 1, channels: 2 };
    return { height: 1, width: 2, batch: 0 };
  }
  return shape.length === 2 && (first ?? 0) > 1 ? { height: 0, width: 1 } : undefined;
}

/** The input of a classifier. Throws ModelError where it is no image, or where nothing says what range it has. */
export function inputSpec(
  model: ModelFile,
  known: KnownInput,
  metadata: Feeding | undefined,
  options: FeedingOptions,
): InputSpec {
  const { name, inputs } = model;
  const tensor = inputs[0];
  if (!tensor || inputs.length !== 1) throw new ModelError(`${name}: not an image classifier: it has ${inputs.length} inputs, not one`);
  if (!INPUT_TYPES.includes(tensor.dtype)) {
    throw new ModelError(`${name}: not an image classifier: its input is ${tensor.dtype}, not uint8, int8, int16 or float`);
  }
  const axes = axesOf(tensor);
  const size = (axis: number | undefined, open: number): number => {
    const found = axis === undefined ? open : (tensor.shape[axis] ?? open);
    return found === -1 ? open : found;
  };
  const batch = size(axes?.batch, 1);
  if (!axes || batch > MAX_BATCH) {
    const shape = tensor.shape.map((side) => (side === -1 ? "?" : side)).join("x") || "a single number";
    throw new ModelError(`${name}: not an image classifier: its input is ${shape}, not 1 x height x width x 3 (or 1 for grey, or 1 x 3 x height x width)`);
  }
  const side = (axis: number, key: "width" | "height"): number => {
    const stored = tensor.stored[axis] ?? 0;
    const found = size(axis, known[key] ?? (stored > 1 ? stored : DEFAULT_SIDE));
    if (found < 1 || found > MAX_SIDE) throw new ModelError(`${name}: not an image classifier: its input ${key} is ${found} pixels`);
    return found;
  };
  const [width, height] = [side(axes.width, "width"), side(axes.height, "height")];
  const depth = axes.channels === undefined ? 1 : size(axes.channels, 3);
  const shape = [...tensor.shape];
  shape[axes.height] = height;
  shape[axes.width] = width;
  if (axes.batch !== undefined) shape[axes.batch] = batch;
  if (axes.channels !== undefined) shape[axes.channels] = depth;
  const channels = oneOf("channels", options.channels ?? known.channels ?? "rgb", ["rgb", "bgr"]);
  const { mean, std } = said(options, channels) ?? feeding(name, tensor, known, metadata);
  return {
    width, height, dtype: tensor.dtype, scale: tensor.scale || 1, zeroPoint: tensor.zeroPoint, mean, std, channels,
    crop: oneOf("resize", options.resize ?? known.crop ?? "squash", ["squash", "crop", "pad"]),
    filter: oneOf("filter", known.filter ?? "bilinear", ["bilinear", "bicubic"]),
    shape, depth, batch, planar: axes.channels !== undefined && axes.channels < axes.height,
  };
}

function oneOf<Choice extends string>(option: string, value: string, allowed: readonly Choice[]): Choice {
  const found = allowed.find((choice) => choice === value);
  if (!found) throw new UsageError(`${option} is one of ${allowed.join(", ")} - not '${value}'`);
  return found;
}

/** What a person says, in the order of the model's channels. */
function said({ inputRange, mean, std }: FeedingOptions, channels: string): Feeding | undefined {
  if ((mean === undefined) !== (std === undefined)) throw new UsageError("mean and std belong together; give both");
  if (mean === undefined || std === undefined) return inputRange && fromRange(inputRange);
  if (inputRange) throw new UsageError("give the input range, or mean and std, not both");
  const found = fromMeanStd(mean, std);
  return channels === "bgr" ? { mean: reversed(found.mean), std: reversed(found.std) } : found;
}

function reversed([first, second, third]: Feeding["mean"]): Feeding["mean"] {
  return [third, second, first];
}

function feeding(name: string, tensor: Tensor, known: KnownInput, metadata: Feeding | undefined): Feeding {
  const catalog =
    known.mean !== undefined && known.std !== undefined ? { mean: triple(known.mean), std: triple(known.std) } : undefined;
  const found = catalog ?? metadata;
  if (tensor.dtype === "uint8" || tensor.dtype === "int8") {
    return exactFeeding(tensor, found, catalog !== undefined && known.exact === true);
  }
  if (found) return found;
  throw new ModelError(
    `${name}: nothing says what range its input has; give it: 0,1 or -1,1 or 0,255 (inputRange, --input-range), or mean and std;` +
      " the Python tool shows what each answers: aicli models show MODEL --try PHOTO",
  );
}

/** The classes of an output [batch, classes], [classes] or with further axes of 1; 0 for any other shape or type. */
function classesOf({ shape, dtype }: Tensor, batch: number): number {
  const rest = shape.length > 1 && (shape[0] === batch || shape[0] === -1) ? shape.slice(1) : shape;
  const wide = rest.filter((size) => size !== 1);
  if (wide.length > 1 || !rest.length || !INPUT_TYPES.includes(dtype)) return 0;
  const classes = wide[0] ?? 1;
  return classes >= 1 && classes <= MAX_CLASSES ? classes : 0;
}

/** The output to read: the one asked for, the only one, the only one that fits the labels, the only usable one. */
export function outputSpec(
  model: ModelFile,
  batch: number,
  known: { readonly kind?: string; readonly tensor?: number },
  wanted: number | undefined,
  labels: number | undefined,
): OutputSpec {
  const { name, outputs } = model;
  const index = chooseOutput(model, batch, wanted ?? known.tensor, labels);
  const tensor = outputs[index];
  const classes = tensor ? classesOf(tensor, batch) : 0;
  if (!tensor || !classes) {
    throw new ModelError(`${name}: not an image classifier: its output ${index} is ${tensor?.dtype} ${tensor?.shape.join("x")}, not 1 x classes`);
  }
  const { kind } = known;
  return {
    tensor: index, classes: classes === 1 && labels === 2 ? 2 : classes, dtype: tensor.dtype, scale: tensor.scale || 1,
    zeroPoint: tensor.zeroPoint, kind: kind === "probabilities" || kind === "logits" ? kind : model.kind(index), binary: classes === 1,
  };
}

function chooseOutput({ name, outputs }: ModelFile, batch: number, wanted: number | undefined, labels: number | undefined): number {
  if (wanted !== undefined) {
    if (!outputs[wanted]) throw new UsageError(`${name}: there is no output tensor ${wanted}; the model has ${outputs.length} (counted from 0)`);
    return wanted;
  }
  if (outputs.length === 1) return 0;
  const counts = outputs.map((output) => classesOf(output, batch));
  const usable = counts.flatMap((count, index) => (count > 1 ? [index] : []));
  for (const found of [usable.filter((index) => counts[index] === labels), usable]) {
    if (found.length === 1 && found[0] !== undefined) return found[0];
  }
  const listed = outputs.map(({ shape }, index) => `${index}: ${shape.join("x")}`).join(", ");
  if (!usable.length) throw new ModelError(`${name}: not an image classifier (outputs ${listed})`);
  throw new UsageError(`${name}: the model has ${outputs.length} outputs (${listed}); choose one with outputTensor (--output-tensor)`);
}

/** One label per class; TensorFlow's background class before ImageNet's 1000 is added or left out, and that is said. */
export function fitLabels(labels: readonly string[] | undefined, classes: number, name: string, notes: string[]): readonly string[] {
  if (!labels) {
    notes.push(`${name}: no labels, so classes go by their numbers; give the label file with --labels FILE`);
    return Array.from({ length: classes }, (_, index) => `class ${index}`);
  }
  const [first = ""] = labels;
  if (labels.length === classes) return labels;
  if (labels.length === 1 && classes > 1) {
    const listed = first.split(",").map((part) => part.trim());
    if (listed.length === classes && listed.every(Boolean)) return listed;
  }
  if (labels.length === 1000 && classes === 1001 && first.toLowerCase() !== "background") {
    notes.push(`${name}: 1000 labels for 1001 classes, so class 0 is taken as the background`);
    return ["background", ...labels];
  }
  if (labels.length === 1001 && classes === 1000) {
    notes.push(`${name}: 1001 labels for 1000 classes, so the first one, '${first}', is left out`);
    return labels.slice(1);
  }
  const there = labels.length === 1 ? "there is 1 label" : `there are ${labels.length} labels`;
  throw new LabelsError(`${name}: the model has ${classes} classes, but ${there}; give a name for each, in the model's order`);
}
