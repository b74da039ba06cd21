import { asModel } from "../catalog/entries.js";
import type { Detection } from "../results.js";
import { type DetectCall, type DetectOptions, detectSettings, FaceTask, NETS } from "../tasks/faces.js";
import { loadHost, type NodeOptions } from "./host.js";
import { type ImageSource, openImage } from "./image.js";
import { readEntryFile, requireEntry } from "./models.js";

export interface FaceDetectorOptions extends NodeOptions, DetectOptions {}

/** A face detector that is loaded once and called for many images. */
export class FaceDetector {
  private constructor(
    /** The model's name, as the records have it. */
    readonly model: string,
    /** What runs the networks. */
    readonly engine: string,
    private readonly task: FaceTask,
    private readonly maxPixels: number | undefined,
  ) {}

  /** Throws UsageError or one of its subclasses: an unknown model, an option out of its range, an absent engine. */
  static async load(options: FaceDetectorOptions = {}): Promise<FaceDetector> {
    const entry = requireEntry(options.model, "detect-faces");
    detectSettings(entry, options); // what is wrong with the options is said before anything is read
    const nets = new Map(NETS.map((net) => [net, asModel(net, readEntryFile(entry, net).bytes)]));
    const host = await loadHost(options);
    return new FaceDetector(entry.name, host.engine.description, new FaceTask(entry, nets, options, host), options.maxPixels);
  }

  /** Finds the faces of one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async detect(image: ImageSource, { name, ...changed }: DetectCall = {}): Promise<Detection> {
    return this.task.answer(await openImage(image, { name, maxPixels: this.maxPixels }), changed);
  }

  /** Gives the memory back; a later call loads the networks again. */
  close(): void {
    this.task.close();
  }
}
