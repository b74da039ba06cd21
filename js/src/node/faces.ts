import type { Detection } from "../results.js";
import { type DetectCall, type FaceTask, DETECT_CALL } from "../tasks/faces.js";
import { checkNames } from "../options.js";
import { type ImageSource, openImage } from "./image.js";
import { FACE_DETECTOR, type FaceDetectorOptions, loadFaces } from "./local.js";
import { ThreadTask, wantsThread } from "./thread.js";

/** A face detector that is loaded once and called for many images. */
export class FaceDetector {
  private constructor(
    /** The model's name, as the records have it. */
    readonly model: string,
    /** What runs the networks. */
    readonly engine: string,
    private readonly task: FaceTask | ThreadTask<Detection>,
    private readonly maxPixels: number | undefined,
  ) {}

  /** Throws UsageError or one of its subclasses: an unknown model, an option out of its range, an absent engine. */
  static async load(options: FaceDetectorOptions = {}): Promise<FaceDetector> {
    checkNames("FaceDetector.load", options, FACE_DETECTOR);
    const { task, loaded } = wantsThread(options)
      ? await ThreadTask.load<Detection>({ task: "detect-faces", options })
      : await loadFaces(options);
    return new FaceDetector(loaded.model, loaded.engine, task, options.maxPixels);
  }

  /** Finds the faces of one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async detect(image: ImageSource, options: DetectCall = {}): Promise<Detection> {
    checkNames("detect", options, DETECT_CALL, "FaceDetector.load", FACE_DETECTOR);
    const { name, ...changed } = options;
    return this.task.answer(await openImage(image, { name, maxPixels: this.maxPixels }), changed);
  }

  /** Gives the memory back; a later call loads the networks again. */
  close(): void {
    this.task.close();
  }
}
