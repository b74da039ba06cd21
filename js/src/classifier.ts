/** Image classification with a MobileNet-class model. */
import { readFileSync, statSync } from "node:fs";
import { asModel, type Entry, looksLikePath, readEntryFile, readModelFile, requireEntry } from "./catalog/entries.js";
import { parseLabels } from "./catalog/label_file.js";
import { readMetadata } from "./catalog/metadata.js";
import { type FeedingOptions, fitLabels, inputSpec, outputSpec } from "./catalog/spec.js";
import { LabelsError, ModelError } from "./errors.js";
import type { Guest } from "./guest/guest.js";
import type { ClassifyRequest } from "./guest/records.js";
import { type ImageSource, openImage } from "./image.js";
import { type CommonOptions, inRange, integer, loadGuest } from "./options.js";
import { type Classification, confidence, round } from "./results.js";
import { DamagedError } from "./tflite/flatbuffer.js";
import type { ModelFile } from "./tflite/model.js";

const DEFAULT_MODEL = "efficientnet_lite0";
const MAX_LABEL_BYTES = 2 ** 26;

export interface ClassifierOptions extends CommonOptions, FeedingOptions {
  /** A name of the catalog or the path of a .tflite file. */
  readonly model?: string | undefined;
  /** The path of a label file, or one label per class. */
  readonly labels?: string | readonly string[] | undefined;
  /** How many classes to answer; 0 for all. Default: 5. */
  readonly topK?: number | undefined;
  /** Classes below this score (0 to 1) are left out. */
  readonly minScore?: number | undefined;
  /** Which output holds the scores. */
  readonly outputTensor?: number | undefined;
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
    private readonly guest: Guest,
    private readonly request: ClassifyRequest,
    private readonly maxPixels: number | undefined,
  ) {}

  /** Throws UsageError or one of its subclasses: an unknown or unfit model, labels that do not fit, an absent engine. */
  static async load(options: ClassifierOptions = {}): Promise<Classifier> {
    const topK = integer("topK", options.topK ?? 5, 0, 1_000_000);
    const minScore = inRange("minScore", options.minScore ?? 0, 0, 1);
    const { model, entry } = findModel(options.model ?? DEFAULT_MODEL);
    const metadata = readOwn(model);
    const input = inputSpec(model, entry?.input ?? {}, metadata.normalization, options);
    const given = readLabels(options.labels, entry);
    const output = outputSpec(model, input.batch, entry?.output ?? {}, options.outputTensor, given?.length);
    const notes: string[] = [];
    const own = metadata.labels[output.tensor];
    const labels = fitLabels(given ?? own, output.binary && own?.length === 2 ? 2 : output.classes, model.name, notes);
    const request = { input, output: { ...output, classes: labels.length }, topK, minScore };
    const { guest, engine } = await loadGuest("classify", new Map([["classifier", model]]), options);
    guest.require(request);
    return new Classifier(model.name, labels, notes, engine.description, guest, request, options.maxPixels);
  }

  /** Classifies one image. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async classify(image: ImageSource, { name }: { readonly name?: string | undefined } = {}): Promise<Classification> {
    const decoded = await openImage(image, { name, maxPixels: this.maxPixels });
    const answer = this.guest.classify(decoded, this.request);
    return {
      image: decoded.name,
      width: decoded.width,
      height: decoded.height,
      model: this.model,
      ...(decoded.frames > 1 ? { frames: decoded.frames, frame: 0 } : {}),
      predictions: answer.map(({ index, score }) => {
        const clipped = Math.min(1, Math.max(0, score));
        return { index, label: this.labels[index] ?? "", score: round(clipped, 6), confidence: confidence(clipped) };
      }),
    };
  }

  /** Gives the memory back; a later call loads the networks again. */
  close(): void {
    this.guest.close();
  }
}

function findModel(model: string): { model: ModelFile; entry?: Entry } {
  if (looksLikePath(model)) return { model: readModelFile(model) };
  const entry = requireEntry(model, "classify");
  return { model: asModel(entry.name, readEntryFile(entry, "model").bytes), entry };
}

function readOwn(model: ModelFile): ReturnType<typeof readMetadata> {
  try {
    return readMetadata(model);
  } catch (error) {
    if (error instanceof DamagedError) throw new ModelError(`${model.name}: its metadata are damaged: ${error.message}`);
    throw error;
  }
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
