/** Image classification and face detection in the page: engine and guest run in a worker, and no photo leaves the browser. */
import type { Entry } from "../catalog/entries.js";
import { ImageError, UnavailableError } from "../errors.js";
import type { ImageDataLike } from "../pixels.js";
import type { Classification, Detection } from "../results.js";
import type { ClassifyCall } from "../tasks/classify.js";
import type { DetectCall } from "../tasks/faces.js";
import { revive } from "./kinds.js";
import type { Answer, Changed, ClassifierLoad, FacesLoad, Loaded, Message, Progress, Question, WorkerImage } from "./messages.js";

export {
  AicliError, GuestError, GuestFault, GuestMemoryError, GuestTrap, ImageError, ImageTooLargeError, InferenceError,
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

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  readonly onProgress: ((progress: Progress) => void) | undefined;
}

const waiting = new Map<number, Waiting>();
let worker: Worker | undefined;
let lastId = 0;

/** One worker for the whole page: its tasks share the engine. */
function start(): Worker {
  const address = new URL("./worker.js", import.meta.url);
  const made = new Worker(address, { name: "aicli" });
  made.onmessage = ({ data }: MessageEvent<Message>) => {
    const asked = waiting.get(data.id);
    if ("progress" in data) {
      asked?.onProgress?.(data.progress);
      return;
    }
    waiting.delete(data.id);
    if ("failure" in data) asked?.reject(revive(data.failure.kind, data.failure.message));
    else asked?.resolve(data.answer);
  };
  made.onerror = (event) => {
    const said = event.message ? `fails: ${event.message}` : "cannot be started; it must come from the page's own origin";
    made.terminate();
    worker = undefined;
    for (const { reject } of waiting.values()) reject(new UnavailableError(`the worker ${address.href} ${said}`));
    waiting.clear();
  };
  return made;
}

function ask(question: Question, transfer: Transferable[] = [], onProgress?: (progress: Progress) => void): Promise<Answer> {
  const asked = (worker ??= start());
  const id = ++lastId;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, onProgress });
    asked.postMessage({ ...question, id }, transfer);
  });
}

/** Addresses count from the page, where the worker would count them from its own. */
const located = <Source>(source: Source): Source | string =>
  typeof source === "string" ? new URL(source, document.baseURI).href : source;

const isAddress = (model: unknown): boolean => typeof model === "string" && /\/|\.(tflite|lite)$/i.test(model);

/** An image as the worker takes it, and what it is called. Throws TypeError for what is none. */
async function handOver(source: ImageSource): Promise<{ image: WorkerImage; name: string; transfer: Transferable[] }> {
  if (typeof source === "string") {
    const response = await fetch(source).catch(() => undefined);
    if (!response?.ok) throw new ImageError(`${source}: ${response ? `status ${response.status}` : "cannot be reached"}; check the address`);
    return { image: await response.blob(), name: source, transfer: [] };
  }
  if (source instanceof Blob) return { image: source, name: source instanceof File ? source.name : "<bytes>", transfer: [] };
  if (source instanceof ArrayBuffer || source instanceof Uint8Array) {
    return { image: new Blob([source as BlobPart]), name: "<bytes>", transfer: [] };
  }
  if (source instanceof ImageBitmap) return { image: source, name: "<pixels>", transfer: [] };
  if (source instanceof HTMLVideoElement) {
    const bitmap = frameOf(source);
    return { image: bitmap, name: "<pixels>", transfer: [bitmap] };
  }
  if (source instanceof Element || source instanceof OffscreenCanvas) {
    const bitmap = await createImageBitmap(source as HTMLCanvasElement, { colorSpaceConversion: "none" });
    return { image: bitmap, name: "<pixels>", transfer: [bitmap] };
  }
  if (typeof source === "object" && source !== null && "data" in source) {
    const { width, height, data } = source;
    return { image: { width, height, data }, name: "<pixels>", transfer: [] };
  }
  throw new TypeError("an image is an address, a Blob, bytes, pixels, or a picture, canvas or video of the page");
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

/** What both tasks share: an object of the worker by its handle. */
class Task<Found extends Classification | Detection> {
  constructor(private readonly loaded: Loaded) {}

  /** The model's name, as the records have it. */
  get model(): string {
    return this.loaded.model;
  }

  /** What runs the network. */
  get engine(): string {
    return this.loaded.engine;
  }

  protected async answer(source: ImageSource, { name: given, ...changed }: Changed & { readonly name?: string | undefined }): Promise<Found> {
    const { image, name, transfer } = await handOver(source);
    return (await ask({ op: "answer", handle: this.loaded.handle, image, name: given ?? name, changed }, transfer)) as Found;
  }

  /** Gives the memory back; the object is of no use then. */
  async close(): Promise<void> {
    await ask({ op: "close", handle: this.loaded.handle });
  }
}

/** A face detector that is loaded once and called for many images. */
export class FaceDetector extends Task<Detection> {
  /** Throws UsageError or one of its subclasses: an unknown model, an option out of its range, files that do not come. */
  static async load({ onProgress, ...options }: FaceDetectorOptions = {}): Promise<FaceDetector> {
    const { guest, ...rest } = options;
    const question = { op: "load", task: "detect-faces", options: { ...rest, guest: located(guest) } } as const;
    return new FaceDetector((await ask(question, [], onProgress)) as Loaded);
  }

  /** Finds the faces of one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  detect(image: ImageSource, options: DetectCall = {}): Promise<Detection> {
    return this.answer(image, options);
  }
}

/** A classifier that is loaded once and called for many images. */
export class Classifier extends Task<Classification> {
  private constructor(
    loaded: Loaded,
    /** One label per class. */
    readonly labels: readonly string[] = loaded.labels,
    /** What had to be assumed about the model, a sentence each. */
    readonly notes: readonly string[] = loaded.notes,
  ) {
    super(loaded);
  }

  /** Throws UsageError or one of its subclasses: an unknown or unfit model, labels that do not fit, files that do not come. */
  static async load({ onProgress, ...options }: ClassifierOptions = {}): Promise<Classifier> {
    const { guest, model, labels, ...rest } = options;
    const files = { guest: located(guest), model: isAddress(model) ? located(model) : model, labels: located(labels) };
    const question = { op: "load", task: "classify", options: { ...rest, ...files } } as const;
    return new Classifier((await ask(question, [], onProgress)) as Loaded);
  }

  /** Classifies one image; options given here hold for this image alone. Throws ImageError for one that cannot be read and GuestFault when the guest fails on it. */
  classify(image: ImageSource, options: ClassifyCall = {}): Promise<Classification> {
    return this.answer(image, options);
  }
}

/** The models of the folder aicli/: names, titles and tasks. */
export async function listModels(): Promise<readonly Entry[]> {
  return (await ask({ op: "models" })) as readonly Entry[];
}
