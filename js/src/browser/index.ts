/** Image classification and face detection in the page: engine and guest run in a worker, and no photo leaves the browser. */
import type { Entry } from "../catalog/entries.js";
import { ImageError, UnavailableError } from "../errors.js";
import { checkNames, type Names, timeLimit } from "../options.js";
import type { ImageDataLike } from "../pixels.js";
import type { Classification, Detection } from "../results.js";
import { CLASSIFY_CALL, type ClassifyCall } from "../tasks/classify.js";
import { DETECT_CALL, type DetectCall } from "../tasks/faces.js";
import { type Hears, type Message, type Port, Remote, WorkerClient } from "../worker/client.js";
import {
  type Answer, type Changed, CLASSIFIER_LOAD, type ClassifierLoad, FACES_LOAD, type FacesLoad, type Loaded, type Progress, type Question,
  type WorkerImage,
} from "./messages.js";

export {
  AicliError, GuestError, GuestFault, GuestMemoryError, GuestTimeout, GuestTrap, ImageError, ImageTooLargeError, InferenceError,
  LabelsError, ModelError, UnavailableError, UsageError,
} from "../errors.js";
export type { ImageDataLike } from "../pixels.js";
export type { Box, Classification, Confidence, Detection, Face, Landmarks, Point, Prediction, Turn } from "../results.js";
export type { FileSource, Progress } from "./messages.js";

/** An address, the bytes of a file, pixels, or what a page shows: a picture, a canvas, a video's frame of this moment. */
export type ImageSource =
  | string | Blob | ArrayBuffer | Uint8Array | ImageBitmap | ImageDataLike
  | HTMLImageElement | HTMLCanvasElement | HTMLVideoElement | OffscreenCanvas;

interface Reporting {
  /** Called as the files come that are not in this page yet. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}
export type FaceDetectorOptions = FacesLoad & Reporting;
export type ClassifierOptions = ClassifierLoad & Reporting;
const FACE_DETECTOR: Names<FaceDetectorOptions> = { ...FACES_LOAD, onProgress: true };
const CLASSIFIER: Names<ClassifierOptions> = { ...CLASSIFIER_LOAD, onProgress: true };

/** Where the folder with worker.js is; by default this module's own. */
let folder: string | undefined;

/**
 * Says where the folder lies that has `worker.js`, the engine and the models, where it is not this module's own: after a
 * bundler took the module along. Counted from the page, on its origin, and to be called before anything is loaded.
 */
export function setAssetFolder(address: string | URL): void {
  folder = new URL(`${String(address).replace(/\/*$/, "")}/`, document.baseURI).href;
}

/** One worker for the whole page: its tasks share the engine. */
const client = new WorkerClient<Question, Answer, Progress>(start);

function start(hears: Hears<Answer, Progress>): Port {
  const address = new URL("worker.js", (folder ??= new URL("./", import.meta.url).href)).href;
  const gone = (said: string): void => hears.gone(new UnavailableError(`the worker ${address} ${said}`));
  let made: Worker;
  try {
    made = new Worker(address, { name: "aicli" });
  } catch {
    queueMicrotask(() => gone("cannot be started; it must come from the page's own origin"));
    return { post: () => {}, end: () => {} };
  }
  made.onmessage = ({ data }: MessageEvent<Message<Answer, Progress>>) => hears.message(data);
  made.onerror = ({ message }) => gone(message ? `fails: ${message}` : "cannot be started; it must be there, and come from the page's own origin");
  return { post: (message) => made.postMessage(message), end: () => made.terminate() };
}

/** Addresses count from the page, where the worker would count them from its own. */
const located = <Source>(source: Source): Source | string =>
  typeof source === "string" ? new URL(source, document.baseURI).href : source;

const isAddress = (model: unknown): boolean => typeof model === "string" && /\/|\.(tflite|lite)$/i.test(model);

/** An image as the worker takes it, and what it is called; `made` for it alone. */
interface Handed {
  readonly image: WorkerImage;
  readonly name: string;
  readonly made?: ImageBitmap;
}

/** Throws TypeError for what is no image. Nothing is transferred: the next worker may need it again. */
async function handOver(source: ImageSource): Promise<Handed> {
  if (typeof source === "string") {
    const response = await fetch(source).catch(() => undefined);
    if (!response?.ok) throw new ImageError(`${source}: ${response ? `status ${response.status}` : "cannot be reached"}; check the address`);
    return { image: await response.blob(), name: source };
  }
  if (source instanceof Blob) return { image: source, name: source instanceof File ? source.name : "<bytes>" };
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) {
    return { image: new Blob([source as BlobPart]), name: "<bytes>" };
  }
  if (source instanceof ImageBitmap) return { image: source, name: "<pixels>" };
  if (source instanceof HTMLVideoElement) {
    const made = frameOf(source);
    return { image: made, name: "<pixels>", made };
  }
  if (source instanceof HTMLImageElement) await complete(source);
  if (source instanceof Element || source instanceof OffscreenCanvas) {
    const made = await createImageBitmap(source as HTMLCanvasElement, { colorSpaceConversion: "none" });
    return { image: made, name: "<pixels>", made };
  }
  if (typeof source === "object" && source !== null && "data" in source) {
    const { width, height, data } = source;
    return { image: { width, height, data }, name: "<pixels>" };
  }
  throw new TypeError("an image is an address, a Blob, bytes, pixels, or a picture, canvas or video of the page");
}

/** Waits for a picture that is still on its way. */
async function complete(picture: HTMLImageElement): Promise<void> {
  try {
    await picture.decode();
  } catch {
    throw new ImageError(`${picture.currentSrc || "<pixels>"}: the page's picture has not come, or this browser does not read it; check its address`);
  }
}

/** By way of a canvas: not every browser makes a bitmap of a video directly. */
function frameOf(video: HTMLVideoElement): ImageBitmap {
  const { videoWidth: width, videoHeight: height, readyState } = video;
  const canvas = new OffscreenCanvas(Math.max(1, width), Math.max(1, height));
  const context = canvas.getContext("2d");
  if (!context || readyState < HTMLMediaElement.HAVE_CURRENT_DATA) {
    throw new ImageError("<pixels>: the video shows nothing yet; wait for its event loadeddata");
  }
  context.drawImage(video, 0, 0);
  return canvas.transferToImageBitmap();
}

/** Something that the worker has loaded by a handle. `first`: what it said of itself then. */
interface Held {
  readonly handle: number;
  readonly remote: Remote<Loaded>;
  readonly first: Loaded;
  readonly seconds: number;
}

type Load =
  | { readonly task: "detect-faces"; readonly options: FacesLoad }
  | { readonly task: "classify"; readonly options: ClassifierLoad };

let lastHandle = 0;

async function hold(load: Load, onProgress: Reporting["onProgress"]): Promise<Held> {
  const handle = ++lastHandle;
  const seconds = timeLimit(load.options.guestTimeout);
  const question: Question = { op: "load", handle, ...load };
  let report = onProgress;
  const remote = new Remote(client, async () => (await client.ask(() => question, { seconds, onProgress: report })) as Loaded);
  const first = await remote.get();
  report = undefined;
  return { handle, remote, first, seconds };
}

/** What both tasks share. */
class Task<Found extends Classification | Detection> {
  private closed = false;

  constructor(private readonly held: Held) {}

  /** The model's name, as the records have it. */
  get model(): string {
    return this.held.first.model;
  }

  /** What runs the network. */
  get engine(): string {
    return this.held.first.engine;
  }

  protected async answer(source: ImageSource, { name: given, ...changed }: Changed & { readonly name?: string | undefined }): Promise<Found> {
    const { image, name, made } = await handOver(source);
    const question = async (): Promise<Question> => {
      if (this.closed) throw new Error("this object was closed");
      const { handle, remote } = this.held;
      await remote.get();
      return { op: "answer", handle, image, name: given ?? name, changed };
    };
    try {
      return (await client.ask(question, { seconds: this.held.seconds })) as Found;
    } finally {
      made?.close();
    }
  }

  /** Gives the memory back; the object is of no use then. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    const { handle, remote } = this.held;
    if (remote.isLive) await client.ask(() => ({ op: "close", handle }));
  }
}

/** A face detector that is loaded once and called for many images. */
export class FaceDetector extends Task<Detection> {
  /** Throws UsageError or one of its subclasses: an unknown model, an option out of its range, files that do not come. */
  static async load(options: FaceDetectorOptions = {}): Promise<FaceDetector> {
    checkNames("FaceDetector.load", options, FACE_DETECTOR);
    const { onProgress, guest, ...rest } = options;
    return new FaceDetector(await hold({ task: "detect-faces", options: { ...rest, guest: located(guest) } }, onProgress));
  }

  /** Finds the faces of one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async detect(image: ImageSource, options: DetectCall = {}): Promise<Detection> {
    checkNames("detect", options, DETECT_CALL, "FaceDetector.load", FACE_DETECTOR);
    return this.answer(image, options);
  }
}

/** A classifier that is loaded once and called for many images. */
export class Classifier extends Task<Classification> {
  private constructor(
    held: Held,
    /** One label per class. */
    readonly labels: readonly string[] = held.first.labels,
    /** What had to be assumed about the model, a sentence each. */
    readonly notes: readonly string[] = held.first.notes,
  ) {
    super(held);
  }

  /** Throws UsageError or one of its subclasses: an unknown or unfit model, labels that do not fit, files that do not come. */
  static async load(options: ClassifierOptions = {}): Promise<Classifier> {
    checkNames("Classifier.load", options, CLASSIFIER);
    const { onProgress, guest, model, labels, ...rest } = options;
    const files = { guest: located(guest), model: isAddress(model) ? located(model) : model, labels: located(labels) };
    return new Classifier(await hold({ task: "classify", options: { ...rest, ...files } }, onProgress));
  }

  /** Classifies one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  async classify(image: ImageSource, options: ClassifyCall = {}): Promise<Classification> {
    checkNames("classify", options, CLASSIFY_CALL, "Classifier.load", CLASSIFIER);
    return this.answer(image, options);
  }
}

/** The models of the folder aicli/: names, titles and tasks. */
export async function listModels(): Promise<readonly Entry[]> {
  return (await client.ask(() => ({ op: "models" }))) as readonly Entry[];
}
