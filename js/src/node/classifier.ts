import type { Classification } from "../results.js";
import { type ClassifyCall, type ClassifyTask, CLASSIFY_CALL } from "../tasks/classify.js";
import { checkNames } from "../options.js";
import { type ImageSource, openImage } from "./image.js";
import { CLASSIFIER, type ClassifierOptions, loadClassifier } from "./local.js";
import { ThreadTask, wantsThread } from "./thread.js";

/** A classifier that is loaded once and called for many images. */
export class Classifier {
  private constructor(
    /** The model's name, as the records have it. */
    readonly model: string,
    /** One label per class. */
    readonly labels: readonly string[],
    /** What had to be assumed about the model, a sentence each. */
    readonly notes: readonly string[],
    /** What runs the network. */
    readonly engine: string,
    private readonly task: ClassifyTask | ThreadTask<Classification>,
    private readonly maxPixels: number | undefined,
  ) {}

  /** Throws UsageError or one of its subclasses: an unknown or unfit model, labels that do not fit, an absent engine. */
  static async load(options: ClassifierOptions = {}): Promise<Classifier> {
    checkNames("Classifier.load", options, CLASSIFIER);
    const { task, loaded } = wantsThread(options)
      ? await ThreadTask.load<Classification>({ task: "classify", options })
      : await loadClassifier(options);
    const { model, labels, notes, engine } = loaded;
    return new Classifier(model, labels, notes, engine, task, options.maxPixels);
  }

  /** Classifies one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async classify(image: ImageSource, options: ClassifyCall = {}): Promise<Classification> {
    checkNames("classify", options, CLASSIFY_CALL, "Classifier.load", CLASSIFIER);
    const { name, ...changed } = options;
    return this.task.answer(await openImage(image, { name, maxPixels: this.maxPixels }), changed);
  }

  /** Gives the memory back; a later call loads the networks again. */
  close(): void {
    this.task.close();
  }
}
