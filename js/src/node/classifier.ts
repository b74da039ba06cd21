import { readFileSync, statSync } from "node:fs";
import { asModel, type Entry } from "../catalog/entries.js";
import { MAX_LABEL_BYTES, parseLabels } from "../catalog/label_file.js";
import { LabelsError } from "../errors.js";
import type { Classification } from "../results.js";
import { type ClassifyCall, type ClassifyOptions, classifySettings, ClassifyTask } from "../tasks/classify.js";
import type { ModelFile } from "../tflite/model.js";
import { loadHost, type NodeOptions } from "./host.js";
import { type ImageSource, openImage } from "./image.js";
import { looksLikePath, readEntryFile, readModelFile, requireEntry } from "./models.js";

export interface ClassifierOptions extends NodeOptions, ClassifyOptions {
  /** A name of the catalog or the path of a .tflite file. */
  readonly model?: string | undefined;
  /** The path of a label file, or one label per class. */
  readonly labels?: string | readonly string[] | undefined;
}

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
    private readonly task: ClassifyTask,
    private readonly maxPixels: number | undefined,
  ) {}

  /** Throws UsageError or one of its subclasses: an unknown or unfit model, labels that do not fit, an absent engine. */
  static async load(options: ClassifierOptions = {}): Promise<Classifier> {
    const { model, entry } = findModel(options.model);
    const settings = classifySettings(model, entry, readLabels(options.labels, entry), options);
    const host = await loadHost(options);
    const task = new ClassifyTask(model, settings, host);
    return new Classifier(model.name, settings.labels, settings.notes, host.engine.description, task, options.maxPixels);
  }

  /** Classifies one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async classify(image: ImageSource, { name, ...changed }: ClassifyCall = {}): Promise<Classification> {
    return this.task.answer(await openImage(image, { name, maxPixels: this.maxPixels }), changed);
  }

  /** Gives the memory back; a later call loads the networks again. */
  close(): void {
    this.task.close();
  }
}

function findModel(model: string | undefined): { model: ModelFile; entry?: Entry } {
  if (model !== undefined && looksLikePath(model)) return { model: readModelFile(model) };
  const entry = requireEntry(model, "classify");
  return { model: asModel(entry.name, readEntryFile(entry, "model").bytes), entry };
}

function readLabels(given: string | readonly string[] | undefined, entry: Entry | undefined): readonly string[] | undefined {
  if (given === undefined) {
    if (!entry?.files["labels"]) return undefined;
    const { path, bytes } = readEntryFile(entry, "labels");
    return parseLabels(bytes, path);
  }
  if (typeof given !== "string") return given;
  let bytes: Uint8Array;
  try {
    if (statSync(given).size > MAX_LABEL_BYTES) throw new LabelsError(`${given}: more than 64 MiB, this is not a label file`);
    bytes = readFileSync(given);
  } catch (error) {
    if (error instanceof LabelsError) throw error;
    throw new LabelsError(`cannot read the labels ${given}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
  }
  return parseLabels(bytes, given);
}
