/** Face detection with the MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878). */
import { asModel, readEntryFile, requireEntry } from "./catalog/entries.js";
import { triple } from "./catalog/ranges.js";
import { ModelError, UsageError } from "./errors.js";
import type { Guest } from "./guest/guest.js";
import type { DetectRequest } from "./guest/records.js";
import { type ImageSource, openImage } from "./image.js";
import { type CommonOptions, inRange, integer, loadGuest } from "./options.js";
import { type Detection, makeFace } from "./results.js";

export interface FaceDetectorOptions extends CommonOptions {
  /** A face model of the catalog. Default: mtcnn. */
  readonly model?: string | undefined;
  /** Side of the smallest face in pixels of the upright image. Default: 20. */
  readonly minSize?: number | undefined;
  /** Lowest scores that P-Net, R-Net and O-Net let through. Default: 0.6, 0.7, 0.7. */
  readonly thresholds?: readonly number[] | undefined;
  /** Ratio from one pyramid level to the next. Default: 0.709. */
  readonly factor?: number | undefined;
  /** The best faces only; 0 for all, which is the default. */
  readonly maxFaces?: number | undefined;
  /** Faces below this score (0 to 1) are left out. */
  readonly minScore?: number | undefined;
}

/** A face detector that is loaded once and called for many images. */
export class FaceDetector {
  private constructor(
    /** The model's name, as the records have it. */
    readonly model: string,
    /** What runs the networks. */
    readonly engine: string,
    private readonly guest: Guest,
    private readonly request: DetectRequest,
    private readonly minScore: number,
    private readonly maxPixels: number | undefined,
  ) {}

  /** Throws UsageError or one of its subclasses: an unknown model, an option out of its range, an absent engine. */
  static async load(options: FaceDetectorOptions = {}): Promise<FaceDetector> {
    const { thresholds = [0.6, 0.7, 0.7] } = options;
    if (thresholds.length !== 3) throw new UsageError(`thresholds are three numbers, not ${thresholds.length}`);
    for (const threshold of thresholds) inRange("each of the thresholds", threshold, 0, 1);
    const entry = requireEntry(options.model ?? "mtcnn", "detect-faces");
    const { mean = 127.5, std = 128, channels = "rgb" } = entry.input ?? {};
    if (channels !== "rgb" && channels !== "bgr") throw new ModelError(`the model ${entry.name} has channels '${channels}' in the catalog, not rgb or bgr`);
    const request: DetectRequest = {
      minSize: inRange("minSize", options.minSize ?? 20, 1, 100_000),
      thresholds: triple(thresholds),
      factor: inRange("factor", options.factor ?? 0.709, 0.1, 0.95),
      maxFaces: integer("maxFaces", options.maxFaces ?? 0, 0, 100_000),
      mean: triple(mean)[0],
      std: triple(std)[0],
      channels,
    };
    const minScore = inRange("minScore", options.minScore ?? 0, 0, 1);
    const nets = new Map(["pnet", "rnet", "onet"].map((net) => [net, asModel(net, readEntryFile(entry, net).bytes)]));
    const { guest, engine } = await loadGuest("detect-faces", nets, options);
    return new FaceDetector(entry.name, engine.description, guest, request, minScore, options.maxPixels);
  }

  /** Finds the faces of one image. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async detect(image: ImageSource, { name }: { readonly name?: string | undefined } = {}): Promise<Detection> {
    const decoded = await openImage(image, { name, maxPixels: this.maxPixels });
    const rows = this.guest.detectFaces(decoded, this.request);
    return {
      image: decoded.name,
      width: decoded.width,
      height: decoded.height,
      model: this.model,
      ...(decoded.frames > 1 ? { frames: decoded.frames, frame: 0 } : {}),
      faces: rows.filter((row) => (row[4] ?? 0) >= this.minScore).map(makeFace),
    };
  }

  /** Gives the memory back; a later call loads the networks again. */
  close(): void {
    this.guest.close();
  }
}
