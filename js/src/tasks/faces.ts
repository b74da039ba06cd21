/** Face detection with the MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878), wherever the files come from. */
import type { Entry } from "../catalog/entries.js";
import { triple } from "../catalog/ranges.js";
import { ModelError, UsageError } from "../errors.js";
import { Guest, type Pixels } from "../guest/guest.js";
import type { DetectRequest } from "../guest/records.js";
import { type DecodedImage, type Host, inRange, integer, type Names, yesOrNo } from "../options.js";
import { type Detection, type FoundFace, makeFace, readFace } from "../results.js";
import type { ModelFile } from "../tflite/model.js";
import { findCut } from "./border.js";
import { findTurned } from "./turns.js";

const NETS = ["pnet", "rnet", "onet"] as const;
const MIN_SIZE = 20;

export interface DetectOptions {
  /** A face model of the catalog. Default: mtcnn. */
  readonly model?: string | undefined;
  /** Side of the smallest face in pixels of the upright image. Default: 20. */
  readonly minSize?: number | undefined;
  /** Lowest scores that P-Net, R-Net and O-Net let through. Default: 0.6, 0.7, 0.7. */
  readonly thresholds?: readonly number[] | undefined;
  /** Looks at the photo turned by 0, 90, 180 and 270 degrees, and merges the faces; takes four times as long. */
  readonly turns?: boolean | undefined;
  /** Looks for faces that the photo's border cuts through too; takes about three times as long. */
  readonly border?: boolean | undefined;
  /** Ratio from one pyramid level to the next. Default: 0.709. */
  readonly factor?: number | undefined;
  /** The best faces only; 0 for all, which is the default. */
  readonly maxFaces?: number | undefined;
  /** Faces below this score (0 to 1) are left out. */
  readonly minScore?: number | undefined;
}

/** What may be another for one image. */
export interface DetectCall extends Omit<DetectOptions, "model"> {
  /** What the image is called in the record and in errors. */
  readonly name?: string | undefined;
}

const BOTH: Names<Omit<DetectOptions, "model">> = {
  minSize: true, thresholds: true, turns: true, border: true, factor: true, maxFaces: true, minScore: true,
};
export const DETECT: Names<DetectOptions> = { model: true, ...BOTH };
export const DETECT_CALL: Names<DetectCall> = { ...BOTH, name: true };

/** What the options ask of the guest. */
interface DetectSettings {
  readonly request: DetectRequest;
  readonly minScore: number;
  readonly turns: boolean;
  readonly border: boolean;
}

/** The networks of a face model, and the role of each one's file. */
export interface Nets {
  readonly roles: ReadonlyMap<string, string>;
  /** They take the pixels as they are. */
  readonly raw: boolean;
}

/** The packaged guest knows networks that take the pixels as they are; one that is the user's own need not. */
export function chooseNets(entry: Entry, ownGuest: boolean): Nets {
  const raw = !ownGuest && NETS.every((net) => `${net}_pixels` in entry.files);
  return { raw, roles: new Map(NETS.map((net) => [net, raw ? `${net}_pixels` : net])) };
}

/** Throws UsageError for an option that is out of its range. */
export function detectSettings(entry: Entry, options: DetectOptions, raw = false): DetectSettings {
  const { thresholds = [0.6, 0.7, 0.7] } = options;
  if (thresholds.length !== 3) throw new UsageError(`thresholds are three numbers, not ${thresholds.length}`);
  for (const threshold of thresholds) inRange("each of the thresholds", threshold, 0, 1);
  const { mean = 127.5, std = 128, channels = "rgb" } = entry.input ?? {};
  if (channels !== "rgb" && channels !== "bgr") {
    throw new ModelError(`the model ${entry.name} has channels '${channels}' in the catalog, not rgb or bgr`);
  }
  const request: DetectRequest = {
    minSize: inRange("minSize", options.minSize ?? MIN_SIZE, 1, 100_000),
    thresholds: triple(thresholds),
    factor: inRange("factor", options.factor ?? 0.709, 0.1, 0.95),
    maxFaces: integer("maxFaces", options.maxFaces ?? 0, 0, 100_000),
    mean: triple(mean)[0],
    std: triple(std)[0],
    channels,
    raw,
  };
  return {
    request,
    minScore: inRange("minScore", options.minScore ?? 0, 0, 1),
    turns: yesOrNo("turns", options.turns ?? false),
    border: yesOrNo("border", options.border ?? false),
  };
}

/** A loaded detector. */
export class FaceTask {
  readonly model: string;
  private readonly guest: Guest;

  constructor(
    private readonly entry: Entry,
    nets: ReadonlyMap<string, ModelFile>,
    private readonly options: DetectOptions,
    private readonly raw: boolean,
    { engine, code, source, guestMemory }: Host,
  ) {
    this.model = entry.name;
    this.guest = new Guest("detect-faces", nets, engine, code, source, guestMemory);
  }

  /** `changed`: what is another for this image. */
  answer(image: DecodedImage, changed: Omit<DetectCall, "name"> = {}): Detection {
    const settings = detectSettings(this.entry, { ...this.options, ...changed }, this.raw);
    const find = (pixels: Pixels): FoundFace[] => this.find(pixels, settings);
    const { maxFaces } = settings.request;
    const found = settings.turns ? findTurned(find, image, maxFaces) : find(image);
    const faces = found.filter(({ score }) => score >= settings.minScore);
    return {
      image: image.name,
      width: image.width,
      height: image.height,
      model: this.model,
      ...(image.frames > 1 ? { frames: image.frames, frame: 0 } : {}),
      faces: (maxFaces ? faces.slice(0, maxFaces) : faces).map(makeFace),
    };
  }

  private find(pixels: Pixels, { request, border }: DetectSettings): FoundFace[] {
    const find = (smaller: Pixels, minSize: number): FoundFace[] =>
      this.guest.detectFaces(smaller, { ...request, minSize }).map(readFace);
    if (!border) return find(pixels, request.minSize);
    return findCut((shrunk, times) => find(shrunk, Math.max(request.minSize / times, Math.min(request.minSize, MIN_SIZE))), pixels);
  }

  close(): void {
    this.guest.close();
  }
}
