/** Image classification with a MobileNet-class model, wherever its files come from. */
import type { Entry } from "../catalog/entries.js";
import { type Metadata, readMetadata, readTrained, type Trained } from "../catalog/metadata.js";
import { FEEDING, type FeedingOptions, fitLabels, inputSpec, outputSpec } from "../catalog/spec.js";
import { ModelError } from "../errors.js";
import { Guest } from "../guest/guest.js";
import type { ClassifyRequest } from "../guest/records.js";
import { type DecodedImage, type Host, inRange, integer, type Names } from "../options.js";
import { type Classification, confidence, round } from "../results.js";
import { DamagedError } from "../tflite/flatbuffer.js";
import type { ModelFile } from "../tflite/model.js";

export interface ClassifyOptions extends FeedingOptions {
  /** How many classes to answer; 0 for all. Default: 5. */
  readonly topK?: number | undefined;
  /** Classes below this score (0 to 1) are left out. */
  readonly minScore?: number | undefined;
  /** Which output holds the scores. */
  readonly outputTensor?: number | undefined;
}

/** What may be another for one image. */
export interface ClassifyCall extends Pick<ClassifyOptions, "topK" | "minScore"> {
  /** What the image is called in the record and in errors. */
  readonly name?: string | undefined;
}

export const CLASSIFY: Names<ClassifyOptions> = { topK: true, minScore: true, ...FEEDING, outputTensor: true };
export const CLASSIFY_CALL: Names<ClassifyCall> = { topK: true, minScore: true, name: true };

/** What the options, the file and the catalog say together. */
export interface ClassifySettings {
  readonly request: ClassifyRequest;
  readonly labels: readonly string[];
  /** What had to be assumed about the model, a sentence each. */
  readonly notes: readonly string[];
}

/** `given`: labels from elsewhere than the file. Throws UsageError or one of its subclasses. */
export function classifySettings(
  model: ModelFile,
  entry: Entry | undefined,
  given: readonly string[] | undefined,
  options: ClassifyOptions,
): ClassifySettings {
  const answers = limits(options);
  const [metadata, trained] = readOwn(model);
  const input = inputSpec(model, entry?.input ?? trained?.input ?? {}, metadata.normalization, options);
  const output = outputSpec(model, input.batch, entry?.output ?? {}, options.outputTensor, given?.length);
  const notes: string[] = [];
  const own = trained?.labels ?? metadata.labels[output.tensor];
  const labels = fitLabels(given ?? own, output.binary && own?.length === 2 ? 2 : output.classes, model.name, notes);
  return { request: { input, output: { ...output, classes: labels.length }, ...answers }, labels, notes };
}

function limits(options: ClassifyCall): Pick<ClassifyRequest, "topK" | "minScore"> {
  return {
    topK: integer("topK", options.topK ?? 5, 0, 1_000_000),
    minScore: inRange("minScore", options.minScore ?? 0, 0, 1),
  };
}

function readOwn(model: ModelFile): [Metadata, Trained | undefined] {
  try {
    return [readMetadata(model), readTrained(model)];
  } catch (error) {
    if (error instanceof DamagedError) throw new ModelError(`${model.name}: its metadata are damaged: ${error.message}`);
    throw error;
  }
}

/** A loaded classifier. */
export class ClassifyTask {
  readonly model: string;
  private readonly guest: Guest;

  constructor(
    model: ModelFile,
    private readonly settings: ClassifySettings,
    { engine, code, source, guestMemory }: Host,
  ) {
    this.model = model.name;
    this.guest = new Guest("classify", new Map([["classifier", model]]), engine, code, source, guestMemory);
    this.guest.require(settings.request);
  }

  /** `changed`: what is another for this image. */
  answer(image: DecodedImage, changed: Omit<ClassifyCall, "name"> = {}): Classification {
    const { labels } = this.settings;
    const request = { ...this.settings.request, ...limits({ ...this.settings.request, ...changed }) };
    const answer = this.guest.classify(image, request);
    return {
      image: image.name,
      width: image.width,
      height: image.height,
      model: this.model,
      ...(image.frames > 1 ? { frames: image.frames, frame: 0 } : {}),
      predictions: answer.map(({ index, score }) => {
        const clipped = Math.min(1, Math.max(0, score));
        return { index, label: labels[index] ?? "", score: round(clipped, 6), confidence: confidence(clipped) };
      }),
    };
  }

  close(): void {
    this.guest.close();
  }
}
