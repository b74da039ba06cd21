/** Tasks in this thread: their files read, the engine loaded, the guest started. */
import { readFileSync, statSync } from "node:fs";
import { asModel, type Entry } from "../catalog/entries.js";
import { MAX_LABEL_BYTES, parseLabels } from "../catalog/label_file.js";
import { LabelsError } from "../errors.js";
import { CLASSIFY, type ClassifyOptions, classifySettings, ClassifyTask } from "../tasks/classify.js";
import { chooseNets, DETECT, type DetectOptions, detectSettings, FaceTask } from "../tasks/faces.js";
import type { Names } from "../options.js";
import type { ModelFile } from "../tflite/model.js";
import { tryNative } from "./engines.js";
import { loadHost, NODE, type NodeOptions } from "./host.js";
import { looksLikePath, readEntryFile, readModelFile, requireEntry } from "./models.js";
import { reason } from "./reason.js";

export interface FaceDetectorOptions extends NodeOptions, DetectOptions {}

export interface ClassifierOptions extends NodeOptions, ClassifyOptions {
  /** A name of the catalog or the path of a .tflite file. */
  readonly model?: string | undefined;
  /** The path of a label file, or one label per class. */
  readonly labels?: string | readonly string[] | undefined;
}

export const FACE_DETECTOR: Names<FaceDetectorOptions> = { ...DETECT, ...NODE };
export const CLASSIFIER: Names<ClassifierOptions> = { ...CLASSIFY, model: true, labels: true, ...NODE };

/** What a task says of itself once it is loaded. */
export interface Loaded {
  readonly model: string;
  readonly engine: string;
  readonly labels: readonly string[];
  readonly notes: readonly string[];
}

/** `begin` is called when nothing is left to do but what the guest does. */
export async function loadFaces(options: FaceDetectorOptions, begin: () => void = () => {}): Promise<{ task: FaceTask; loaded: Loaded }> {
  const entry = requireEntry(options.model, "detect-faces");
  detectSettings(entry, options); // what is wrong with the options is said before anything is read
  const { roles, raw } = chooseNets(entry, options.guest !== undefined);
  const nets = new Map([...roles].map(([net, role]) => [net, asModel(net, readEntryFile(entry, role).bytes)]));
  const host = await loadHost(options);
  begin();
  const task = new FaceTask(entry, nets, options, raw, host);
  return { task, loaded: { model: entry.name, engine: host.engine.description, labels: [], notes: [] } };
}

/** What has to be done in the main thread before others load tasks. */
export function prepareForThreads({ engine }: NodeOptions): void {
  const entry = requireEntry(undefined, "detect-faces");
  tryNative(engine, asModel("pnet", readEntryFile(entry, "pnet").bytes), [1, 12, 12, 3]);
}

export async function loadClassifier(options: ClassifierOptions, begin: () => void = () => {}): Promise<{ task: ClassifyTask; loaded: Loaded }> {
  const { model, entry } = findModel(options.model);
  const { labels, notes, ...settings } = classifySettings(model, entry, readLabels(options.labels, entry), options);
  const host = await loadHost(options);
  begin();
  const task = new ClassifyTask(model, { labels, notes, ...settings }, host);
  return { task, loaded: { model: model.name, engine: host.engine.description, labels, notes } };
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
    throw new LabelsError(`cannot read the labels ${given}: ${reason(error)}`);
  }
  return parseLabels(bytes, given);
}
