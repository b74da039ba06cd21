/**
 * Tasks in a thread of their own, which is ended when the guest uses up its time: WebAssembly cannot be interrupted in the
 * thread that runs it.
 */
import { join } from "node:path";
import { isMainThread, Worker } from "node:worker_threads";
import { UnavailableError } from "../errors.js";
import { type DecodedImage, timeLimit } from "../options.js";
import type { Classification, Detection } from "../results.js";
import type { ClassifyCall } from "../tasks/classify.js";
import type { DetectCall } from "../tasks/faces.js";
import { type Hears, type Message, type Port, Remote, WorkerClient } from "../worker/client.js";
import { type ClassifierOptions, type FaceDetectorOptions, type Loaded, prepareForThreads } from "./local.js";

export type Load =
  | { readonly task: "detect-faces"; readonly options: FaceDetectorOptions }
  | { readonly task: "classify"; readonly options: ClassifierOptions };
export type Changed = Omit<DetectCall & ClassifyCall, "name">;
export type Question = ({ readonly op: "load" } & Load) | { readonly op: "answer"; readonly image: DecodedImage; readonly changed: Changed };
export type Answer = Loaded | Classification | Detection;

/** Whether these options want a deadline, and so a thread: a guest of one's own, or a limit that was given. */
export const wantsThread = ({ guest, guestTimeout }: { guest?: string | undefined; guestTimeout?: number | undefined }): boolean =>
  guest !== undefined || guestTimeout !== undefined;

/** A task in its thread. */
export class ThreadTask<Found extends Classification | Detection> {
  private readonly client = new WorkerClient<Question, Answer>(start);
  private readonly remote: Remote<Loaded>;
  private readonly seconds: number;

  private constructor(load: Load) {
    this.seconds = timeLimit(load.options.guestTimeout);
    const question: Question = { op: "load", ...load };
    this.remote = new Remote(this.client, async () => (await this.client.ask(() => question, { seconds: this.seconds })) as Loaded);
  }

  static async load<Found extends Classification | Detection>(load: Load): Promise<{ task: ThreadTask<Found>; loaded: Loaded }> {
    const task = new ThreadTask<Found>(load);
    if (isMainThread) prepareForThreads(load.options);
    try {
      return { task, loaded: await task.remote.get() };
    } catch (error) {
      task.close();
      throw error;
    }
  }

  async answer(image: DecodedImage, changed: Changed): Promise<Found> {
    const question = async (): Promise<Question> => {
      await this.remote.get();
      return { op: "answer", image, changed };
    };
    return (await this.client.ask(question, { seconds: this.seconds })) as Found;
  }

  /** Ends the thread; a later call starts another one. */
  close(): void {
    this.client.end();
  }
}

function start(hears: Hears<Answer, never>): Port {
  const worker = new Worker(join(__dirname, "thread_main.js"), { trackUnmanagedFds: false }); // LiteRT's files are none of Node's
  let open = 0; // questions: while there are none, the thread keeps no program alive
  worker.unref();
  worker.on("message", (message: Message<Answer>) => {
    if (!("begun" in message) && --open === 0) worker.unref();
    hears.message(message);
  });
  worker.on("error", (error) => hears.gone(new UnavailableError(`the thread of the guest failed: ${error.message}`)));
  worker.on("exit", () => hears.gone(new UnavailableError("the thread of the guest ended")));
  return {
    post: (message) => {
      if (open++ === 0) worker.ref();
      worker.postMessage(message);
    },
    end: () => void worker.terminate(),
  };
}
