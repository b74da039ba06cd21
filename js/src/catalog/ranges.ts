/** The range of a classifier's input: what pixels become before a model sees them, and who says so. */
import { UsageError } from "../errors.js";
import type { Triple } from "../guest/records.js";
import type { Tensor } from "../tflite/model.js";

/** `real = (pixel - mean) / std` by channel, in pixel units. */
export interface Feeding {
  readonly mean: Triple;
  readonly std: Triple;
}

export function triple(values: number | readonly number[]): Triple {
  const numbers = typeof values === "number" ? [values] : values;
  const [first = 0, second = first, third = first] = numbers;
  return [first, second, third];
}

/** The feeding that maps 0..255 to a range such as [-1, 1]. Throws UsageError unless it is two finite numbers, the smaller first. */
export function fromRange(range: readonly number[]): Feeding {
  const [low = NaN, high = NaN] = range;
  if (range.length !== 2 || !Number.isFinite(low) || !Number.isFinite(high) || low >= high) {
    throw new UsageError(`the input range is two numbers, the smaller first, such as 0,1 or -1,1 - not '${range.join(",")}'`);
  }
  const std = 255 / (high - low);
  return { mean: triple(0 - low * std), std: triple(std) };
}

/** Numbers of 0 to 1 mean a pixel of 0 to 1, as torchvision writes them; larger ones a pixel of 0 to 255. */
export function fromMeanStd(mean: number | readonly number[], std: number | readonly number[]): Feeding {
  const [means, stds] = [numbers("mean", mean), numbers("std", std)];
  if (stds.some((value) => value <= 0)) throw new UsageError("the standard deviation is greater than 0");
  if (Math.max(...means.map(Math.abs), ...stds) > 1) return { mean: means, std: stds };
  if (means.every((value) => value === 0) && stds.every((value) => value === 1)) {
    throw new UsageError("mean 0 and std 1 may mean pixels of 0 to 1 or of 0 to 255; say which with the input range");
  }
  const scaled = (values: Triple): Triple => triple(values.map((value) => Math.round(255e6 * value) / 1e6));
  return { mean: scaled(means), std: scaled(stds) };
}

function numbers(name: string, given: number | readonly number[]): Triple {
  const values = typeof given === "number" ? [given] : given;
  if (![1, 3].includes(values.length) || !values.every(Number.isFinite)) {
    throw new UsageError(`${name} is one number or three, such as 0.485,0.456,0.406 - not '${values.join(",")}'`);
  }
  return triple(values);
}

/** The ranges that models are trained with: what a quantisation may have been calibrated for. */
const USUAL: readonly Feeding[] = [
  fromRange([-1, 1]),
  fromRange([0, 1]),
  fromRange([0, 255]),
  { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] },
  { mean: [123.68, 116.779, 103.939], std: [1, 1, 1] },
  fromRange([-128, 127]),
];
const LIMITS = { uint8: [0, 255], int8: [-128, 127] } as const;
/** Steps by which a calibration that did not see every pixel may cut a usual range off. */
const SLACK = 128;

function ends({ mean, std }: Feeding, channel: 0 | 1 | 2): [number, number] {
  return [-mean[channel] / std[channel], (255 - mean[channel]) / std[channel]];
}

function span(feeding: Feeding): [number, number] {
  const all = ([0, 1, 2] as const).map((channel) => ends(feeding, channel));
  return [Math.min(...all.map(([low]) => low)), Math.max(...all.map(([, high]) => high))];
}

/**
 * How an 8-bit input is fed. A quantised model that was made from pixels gets the pixel itself (less 128 when it is
 * signed). A normalisation that is `said`, or a usual range that the quantisation was calibrated with, is applied where
 * it fits the type and differs from that by more than rounding.
 */
export function exactFeeding(tensor: Tensor, said: Feeding | undefined, trusted: boolean): Feeding {
  const signed = tensor.dtype === "int8";
  const raw = { mean: triple(tensor.zeroPoint + (signed ? 128 : 0)), std: triple(1 / (tensor.scale || 1)) };
  if (said && trusted) return said;
  if (!tensor.scale) return raw;
  if (said) return fits(tensor, said, raw) ? said : raw;
  const [low, high] = LIMITS[signed ? "int8" : "uint8"].map((limit) => (limit - tensor.zeroPoint) * tensor.scale) as [number, number];
  const [found, ...others] = usual(low, high);
  return found && !others.length && fits(tensor, found, raw) ? found : raw;
}

/** The usual range that a calibration to `low` to `high` fits best, or several where it cannot tell. */
function usual(low: number, high: number): Feeding[] {
  if (Math.abs(low + high) <= 1e-3 * Math.max(-low, high)) {
    return USUAL.filter((item) => {
      const [first, last] = span(item);
      const part = high / Math.max(-first, last);
      return part >= 0.7 && part <= 1.03;
    });
  }
  const distance = (item: Feeding): number => Math.abs(low - span(item)[0]) + Math.abs(high - span(item)[1]);
  return USUAL.filter((item) => covers(item, low, high))
    .sort((first, second) => distance(first) - distance(second))
    .slice(0, 1);
}

/** Whether a calibration saw most of a usual range and nothing outside it. */
function covers(item: Feeding, low: number, high: number): boolean {
  const [first, last] = span(item);
  const width = last - first;
  return low >= first - 0.03 * width && high <= last + 0.03 * width && high - low >= 0.7 * width;
}

/** Whether a normalisation uses the type's range and differs from raw pixels by more than two steps. */
function fits(tensor: Tensor, found: Feeding, raw: Feeding): boolean {
  const [low, high] = LIMITS[tensor.dtype === "int8" ? "int8" : "uint8"];
  const steps = (feeding: Feeding, channel: 0 | 1 | 2): number[] =>
    ends(feeding, channel).map((end) => end / tensor.scale + tensor.zeroPoint);
  let different = false;
  for (const channel of [0, 1, 2] as const) {
    const [first = 0, last = 0] = steps(found, channel);
    if (first < low - SLACK || last > high + SLACK || last - first < 64) return false;
    const [rawFirst = 0, rawLast = 0] = steps(raw, channel);
    different ||= Math.abs(first - rawFirst) > 2 || Math.abs(last - rawLast) > 2;
  }
  return different;
}
