/**
 * The asking side of a worker that runs guests. WebAssembly cannot be interrupted in its own thread: a guest that uses up
 * its time is ended with its worker, and what else was asked of that worker is asked of the next one.
 */
import { GuestTimeout } from "../errors.js";
import { type Failure, revive } from "./kinds.js";

/** What a worker says. `begun`: from now on the guest has its turn, and its time counts. */
export type Message<Answer, Progress = never> =
  | { readonly id: number; readonly begun: true }
  | { readonly id: number; readonly progress: Progress }
  | { readonly id: number; readonly answer: Answer }
  | { readonly id: number; readonly failure: Failure };

/** A platform's worker. */
export interface Port {
  post(message: object): void;
  end(): void;
}

/** What a platform's worker tells its client: its messages, and that it is gone. */
export interface Hears<Answer, Progress> {
  message(message: Message<Answer, Progress>): void;
  gone(error: Error): void;
}

export interface AskOptions<Progress> {
  /** Seconds that the guest may take. */
  readonly seconds?: number | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

interface Asked<Answer, Progress> extends AskOptions<Progress> {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
  timer?: ReturnType<typeof setTimeout>;
}

/** The worker was ended because of something else. */
class Ended extends Error {}

export class WorkerClient<Question extends object, Answer, Progress = never> {
  private readonly asked = new Map<number, Asked<Answer, Progress>>();
  private port: Port | undefined;
  private lastId = 0;
  /** How many workers were ended: what was loaded in one of them is gone. */
  generation = 0;

  constructor(private readonly start: (hears: Hears<Answer, Progress>) => Port) {}

  /** One answer; the question is put again, made anew, where another one's guest ended the worker. Throws GuestTimeout. */
  async ask(make: () => Question | Promise<Question>, options: AskOptions<Progress> = {}): Promise<Answer> {
    for (;;) {
      const question = await make();
      try {
        return await this.put(question, options);
      } catch (error) {
        if (!(error instanceof Ended)) throw error;
      }
    }
  }

  private put(question: Question, options: AskOptions<Progress>): Promise<Answer> {
    const port = (this.port ??= this.begin());
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.asked.set(id, { ...options, resolve, reject });
      try {
        port.post({ ...question, id });
      } catch (error) {
        this.asked.delete(id);
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  }

  private begin(): Port {
    const port: Port = this.start({
      message: (message) => this.hear(message),
      gone: (error) => {
        if (this.port === port) this.end(error);
      },
    });
    return port;
  }

  private hear(message: Message<Answer, Progress>): void {
    const asked = this.asked.get(message.id);
    if (!asked) return;
    if ("progress" in message) return asked.onProgress?.(message.progress);
    if ("begun" in message) {
      const { seconds } = asked;
      if (seconds !== undefined) asked.timer = setTimeout(() => this.expire(message.id, seconds), 1000 * seconds);
      return;
    }
    clearTimeout(asked.timer);
    this.asked.delete(message.id);
    if ("failure" in message) asked.reject(revive(message.failure));
    else asked.resolve(message.answer);
  }

  private expire(id: number, seconds: number): void {
    const late = this.asked.get(id);
    this.asked.delete(id);
    this.end();
    late?.reject(new GuestTimeout(`the guest used up its ${seconds} ${seconds === 1 ? "second" : "seconds"}; guestTimeout (--guest-timeout) gives more`));
  }

  /** Ends the worker. What is still asked of it fails with `error`, else is asked of the next worker. */
  end(error: Error = new Ended()): void {
    this.port?.end();
    this.port = undefined;
    this.generation++;
    const left = [...this.asked.values()];
    this.asked.clear();
    for (const { timer, reject } of left) {
      clearTimeout(timer);
      reject(error);
    }
  }

  /** Whether nothing is asked. */
  get idle(): boolean {
    return !this.asked.size;
  }
}

/** Something that a worker holds by a handle: loaded again where its worker was ended meanwhile. */
export class Remote<Loaded> {
  private loading: Promise<Loaded> | undefined;
  private pending = false;
  private generation = 0;

  /** `load` asks the client for it. */
  constructor(
    private readonly client: { readonly generation: number },
    private readonly load: () => Promise<Loaded>,
  ) {}

  /** Whether the present worker has it, or is about to. */
  get isLive(): boolean {
    return this.loading !== undefined && (this.pending || this.generation === this.client.generation);
  }

  get(): Promise<Loaded> {
    if (this.loading && this.isLive) return this.loading;
    this.pending = true;
    this.loading = this.load();
    this.loading.then(
      () => {
        this.pending = false;
        this.generation = this.client.generation;
      },
      () => {
        this.pending = false;
        this.loading = undefined;
      },
    );
    return this.loading;
  }
}
