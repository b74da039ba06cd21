/**
 * The metadata that TFLite files may carry: how to normalise the input, and label files in a zip at their end.
 *
 * Source: `metadata_schema.fbs` of TensorFlow Lite Support, identifier M001.
 */
import { unzipSync } from "fflate";
import { ModelError } from "../errors.js";
import { DamagedError, root, type Table, view } from "../tflite/flatbuffer.js";
import type { ModelFile } from "../tflite/model.js";
import { MAX_LABEL_BYTES, parseLabels } from "./label_file.js";
import { type Feeding, triple } from "./ranges.js";
import type { KnownInput } from "./spec.js";

const NORMALIZATION = 1; // ProcessUnitOptions
const LABEL_FILES = [2, 3]; // AssociatedFileType: labels of an axis, of values
const END_OF_DIRECTORY = 0x06054b50;

export interface Metadata {
  readonly normalization?: Feeding | undefined;
  /** The labels of each output, where it has any. */
  readonly labels: readonly (readonly string[] | undefined)[];
}

/** What the file says about itself. Throws DamagedError, LabelsError or ModelError. */
export function readMetadata(model: ModelFile): Metadata {
  const graph = model.metadata && root(model.metadata, "M001").tables(3)[0];
  if (!graph) return { labels: [] };
  const input = graph.tables(2)[0];
  return { normalization: input && normalization(input), labels: graph.tables(3).map((output) => labels(model, output)) };
}

/** What `aicli train` says of the files that it writes: how photos are fed, as in the catalog, and the labels. */
export interface Trained {
  readonly input: KnownInput;
  readonly labels: readonly string[];
}

/** Throws DamagedError: a file may claim anything. */
export function readTrained(model: ModelFile): Trained | undefined {
  if (!model.trained?.length) return undefined;
  const damaged = new DamagedError("the block AICLI_CLASSIFIER cannot be read; train it again");
  try {
    const { input, labels } = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(model.trained)) as Trained;
    const lists = [input.mean, input.std].every((list) => Array.isArray(list) && list.length === 3 && list.every(Number.isFinite));
    const spread = lists && (input.std as readonly number[]).every((value) => value > 0);
    if (!spread || !Array.isArray(labels) || !labels.every((label) => typeof label === "string")) throw damaged;
    return { input: { ...input, exact: true }, labels };
  } catch {
    throw damaged;
  }
}

function normalization(tensor: Table): Feeding | undefined {
  for (const unit of tensor.tables(4)) {
    const options = unit.table(1);
    if (unit.u8(0) !== NORMALIZATION || !options) continue;
    const [mean, std] = [options.f32s(0), options.f32s(1)];
    const usable = [mean, std].every((list) => [1, 3].includes(list.length) && list.every(Number.isFinite));
    if (usable && std.every((value) => value > 0)) return { mean: triple(mean), std: triple(std) };
  }
  return undefined;
}

function labels(model: ModelFile, output: Table): readonly string[] | undefined {
  const files = output.tables(6).map((file) => ({ name: file.text(0), type: file.u8(2), locale: file.text(3).toLowerCase() }));
  const wanted = files
    .filter(({ name, type }) => LABEL_FILES.includes(type) || (type === 0 && name.toLowerCase().includes("label")))
    .sort((first, second) => rank(first.locale) - rank(second.locale))
    .map(({ name }) => name);
  if (!wanted.length) return undefined;
  let found: Record<string, Uint8Array>;
  try {
    found = unzipSync(archive(model.bytes), { filter: ({ name, originalSize }) => wanted.includes(name) && originalSize <= MAX_LABEL_BYTES });
  } catch (error) {
    throw new ModelError(`${model.name}: the label files at its end cannot be read (${error instanceof Error ? error.message : String(error)})`);
  }
  const name = wanted.find((file) => found[file]);
  const bytes = name && found[name];
  return bytes ? parseLabels(bytes, `${model.name}: ${name}`) : undefined;
}

/** The zip at the end of a file. Its offsets count from the file's begin, or from its own: both are written. */
function archive(bytes: Uint8Array): Uint8Array {
  const data = view(bytes);
  for (let end = bytes.length - 22; end >= Math.max(0, bytes.length - 22 - 65535); end--) {
    if (data.getUint32(end, true) !== END_OF_DIRECTORY) continue;
    const start = end - data.getUint32(end + 12, true) - data.getUint32(end + 16, true);
    return start > 0 ? bytes.subarray(start) : bytes;
  }
  throw new Error("there is no zip");
}

/** The order in which label files are tried: English, no language, the others. */
function rank(locale: string): number {
  return locale.split(/[-_]/)[0] === "en" ? 0 : locale ? 2 : 1;
}
