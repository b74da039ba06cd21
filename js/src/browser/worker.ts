/** The worker: engine and guest live here, where they may keep a thread busy. */
import { asModel, chooseEntry, type Entry, fileOf } from "../catalog/entries.js";
import { MAX_LABEL_BYTES, parseLabels } from "../catalog/label_file.js";
import { LabelsError } from "../errors.js";
import { DEFAULT_GUEST_MEMORY } from "../guest/guest.js";
import { type Host, inRange } from "../options.js";
import { classifySettings, ClassifyTask } from "../tasks/classify.js";
import { chooseNets, detectSettings, FaceTask } from "../tasks/faces.js";
import type { ModelFile } from "../tflite/model.js";
import type { Message } from "../worker/client.js";
import { failureOf } from "../worker/kinds.js";
import { decode } from "./decode.js";
import { Download, given } from "./files.js";
import { loadLiteRtJs } from "./load_litert_js.js";
import type { Answer, BrowserOptions, ClassifierLoad, FacesLoad, FileSource, Loaded, Progress, Question } from "./messages.js";

declare const self: {
  onmessage: ((event: MessageEvent<Question & { id: number }>) => void) | null;
  postMessage(message: Message<Answer, Progress>): void;
};

interface Task {
  readonly task: FaceTask | ClassifyTask;
  readonly maxPixels: number | undefined;
}

const tasks = new Map<number, Task>();
let packagedGuest: Promise<Uint8Array> | undefined;

/** Says that the guest has its turn: from then on it can keep this thread busy. */
type Begin = () => void;

self.onmessage = ({ data: { id, ...question } }) => {
  const download = new Download((progress) => self.postMessage({ id, progress }));
  answer(question, download, () => self.postMessage({ id, begun: true })).then(
    (found) => self.postMessage({ id, answer: found }),
    (error: unknown) => self.postMessage({ id, failure: failureOf(error) }),
  );
};

async function answer(question: Question, download: Download, begin: Begin): Promise<Answer> {
  if (question.op === "models") return catalog(download);
  if (question.op === "load") {
    const [held, loaded] =
      question.task === "classify" ? await loadClassifier(question.options, download, begin) : await loadFaces(question.options, download, begin);
    tasks.set(question.handle, held);
    return loaded;
  }
  const held = tasks.get(question.handle);
  if (question.op === "close") {
    held?.task.close();
    tasks.delete(question.handle);
    return null;
  }
  if (!held) throw new Error("this object was closed");
  const image = await decode(question.image, question.name, held.maxPixels);
  begin();
  return held.task.answer(image, question.changed);
}

async function catalog(download: Download): Promise<readonly Entry[]> {
  const text = new TextDecoder().decode(await download.bytes("data/models/catalog.json"));
  return (JSON.parse(text) as { models: Entry[] }).models;
}

async function choose(download: Download, name: string | undefined, task: Entry["task"]): Promise<Entry> {
  return chooseEntry(await catalog(download), name, task, "give a name of the site's catalog");
}

async function loadFaces(options: FacesLoad, download: Download, begin: Begin): Promise<[Task, Loaded]> {
  const entry = await choose(download, options.model, "detect-faces");
  detectSettings(entry, options); // what is wrong with the options is said before anything more is fetched
  const { roles, raw } = chooseNets(entry, options.guest !== undefined);
  const read = async ([net, role]: [string, string]): Promise<[string, ModelFile]> => {
    const bytes = await download.bytes(`data/models/${fileOf(entry, role).file}`);
    return [net, asModel(net, bytes)];
  };
  const [host, ...nets] = await Promise.all([loadHost(options, download), ...[...roles].map(read)]);
  begin();
  const task = new FaceTask(entry, new Map(nets), options, raw, host);
  return made({ task, maxPixels: options.maxPixels }, host, [], []);
}

async function loadClassifier(options: ClassifierLoad, download: Download, begin: Begin): Promise<[Task, Loaded]> {
  // The engine comes at the same time; whether the model is fit is known before it has arrived.
  const hosting = loadHost(options, download);
  hosting.catch(() => {});
  const { model, entry } = await findModel(options.model, download);
  const settings = classifySettings(model, entry, await readLabels(options.labels, entry, download), options);
  const host = await hosting;
  begin();
  const task = new ClassifyTask(model, settings, host);
  return made({ task, maxPixels: options.maxPixels }, host, settings.labels, settings.notes);
}

function made(held: Task, host: Host, labels: readonly string[], notes: readonly string[]): [Task, Loaded] {
  return [held, { model: held.task.model, engine: host.engine.description, labels, notes }];
}

async function findModel(model: FileSource | undefined, download: Download): Promise<{ model: ModelFile; entry?: Entry }> {
  if (model !== undefined && (typeof model !== "string" || model.includes("/"))) {
    const { name, bytes } = await given(model, "the model");
    return { model: asModel(name, bytes) };
  }
  const entry = await choose(download, model, "classify");
  return { model: asModel(entry.name, await download.bytes(`data/models/${fileOf(entry, "model").file}`)), entry };
}

async function readLabels(
  labels: ClassifierLoad["labels"],
  entry: Entry | undefined,
  download: Download,
): Promise<readonly string[] | undefined> {
  if (labels === undefined) {
    const ref = entry?.files["labels"];
    return ref && parseLabels(await download.bytes(`data/labels/${ref.file}`), ref.file);
  }
  if (Array.isArray(labels)) return labels as readonly string[];
  const { name, bytes } = await given(labels as FileSource, "the labels");
  if (bytes.length > MAX_LABEL_BYTES) throw new LabelsError(`${name}: more than 64 MiB, this is not a label file`);
  return parseLabels(bytes, name);
}

async function loadHost(options: BrowserOptions, download: Download): Promise<Host> {
  const guestMemory = inRange("guestMemory", options.guestMemory ?? DEFAULT_GUEST_MEMORY, 65536, 2 ** 32);
  const [engine, guest] = await Promise.all([loadLiteRtJs(download), loadGuest(options.guest, download)]);
  return { engine, ...guest, guestMemory };
}

async function loadGuest(guest: FileSource | undefined, download: Download): Promise<{ code: Uint8Array; source: string }> {
  if (guest !== undefined) {
    const { name, bytes } = await given(guest, "the guest");
    return { code: bytes, source: name };
  }
  packagedGuest ??= download.bytes("data/aicli_guest.wasm").catch((error: unknown) => {
    packagedGuest = undefined;
    throw error;
  });
  return { code: await packagedGuest, source: "the packaged guest" };
}
