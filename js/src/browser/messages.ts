/** What page and worker say to each other. */
import type { Entry } from "../catalog/entries.js";
import { type Names, SHARED, type SharedOptions } from "../options.js";
import type { ImageDataLike } from "../pixels.js";
import type { Classification, Detection } from "../results.js";
import { CLASSIFY, type ClassifyCall, type ClassifyOptions } from "../tasks/classify.js";
import { DETECT, type DetectCall, type DetectOptions } from "../tasks/faces.js";

/** How much of what a model needs has come: bytes of the files as they are, uncompressed. */
export interface Progress {
  readonly loaded: number;
  readonly total: number;
  /** The file that has just come on, such as `data/models/onet.tflite`. */
  readonly file: string;
}

/** A file by its address, or its bytes. */
export type FileSource = string | Blob | ArrayBuffer | Uint8Array;

export interface BrowserOptions extends SharedOptions {
  /** A WebAssembly module to run instead of the packaged guest. */
  readonly guest?: FileSource | undefined;
  /** Seconds that the guest may take for one image. Default: 60. */
  readonly guestTimeout?: number | undefined;
}
export type FacesLoad = BrowserOptions & DetectOptions;
export interface ClassifierLoad extends BrowserOptions, ClassifyOptions {
  /** A name of the catalog, the address of a .tflite file, or its bytes. */
  readonly model?: FileSource | undefined;
  /** The address or the bytes of a label file, or one label per class. */
  readonly labels?: FileSource | readonly string[] | undefined;
}

const BROWSER: Names<BrowserOptions> = { ...SHARED, guest: true, guestTimeout: true };
export const FACES_LOAD: Names<FacesLoad> = { ...DETECT, ...BROWSER };
export const CLASSIFIER_LOAD: Names<ClassifierLoad> = { ...CLASSIFY, model: true, labels: true, ...BROWSER };

export type WorkerImage = Blob | ImageBitmap | ImageDataLike;

/** What is another for one image. */
export type Changed = Omit<DetectCall & ClassifyCall, "name">;

/** Handles are the page's, and never used twice: one of a worker that was ended means nothing else in the next. */
export type Question =
  | { readonly op: "models" }
  | { readonly op: "load"; readonly handle: number; readonly task: "detect-faces"; readonly options: FacesLoad }
  | { readonly op: "load"; readonly handle: number; readonly task: "classify"; readonly options: ClassifierLoad }
  | { readonly op: "answer"; readonly handle: number; readonly image: WorkerImage; readonly name: string; readonly changed: Changed }
  | { readonly op: "close"; readonly handle: number };

/** What a task says of itself once it is loaded. */
export interface Loaded {
  readonly model: string;
  readonly engine: string;
  readonly labels: readonly string[];
  readonly notes: readonly string[];
}

export type Answer = Loaded | Classification | Detection | readonly Entry[] | null;
