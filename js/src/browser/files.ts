/** The package's own files, fetched from beside the worker, with progress; checked by the checksums of files.json. */
import { ModelError, UnavailableError } from "../errors.js";
import type { FileSource, Progress } from "./messages.js";

interface Known {
  readonly bytes: number;
  readonly sha256: string;
}

export type Report = (progress: Progress) => void;

/** The folder of the package: this worker's own. */
const BASE = new URL("./", self.location.href);

let list: Promise<Readonly<Record<string, Known>>> | undefined;

/** What files.json says of every file. One that failed to come is asked for again. */
function known(): Promise<Readonly<Record<string, Known>>> {
  list ??= request("files.json")
    .then(async (response) => ((await response.json()) as { files: Record<string, Known> }).files)
    .catch((error: unknown) => {
      list = undefined;
      throw error;
    });
  return list;
}

async function expected(path: string): Promise<Known> {
  const found = (await known())[path];
  if (!found) throw new ModelError(`${new URL(path, BASE).href}: not one of the files that were put there; see files.json`);
  return found;
}

/** Where a file is, with its checksum: a cache never gives an earlier version for it. */
export async function addressOf(path: string): Promise<string> {
  return new URL(`${path}?${(await expected(path)).sha256}`, BASE).href;
}

async function request(path: string, address: string = new URL(path, BASE).href): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address);
  } catch {
    throw new UnavailableError(`${plain(address)} cannot be reached, and is not kept on this device; connect once`);
  }
  if (!response.ok) throw new UnavailableError(`${plain(address)} answers with status ${response.status}; the folder aicli/ is not complete there`);
  return response;
}

const plain = (address: string): string => address.replace(/\?.*/, "");

/** The files that one load needs, added up as they come. */
export class Download {
  private loaded = 0;
  private total = 0;

  constructor(private readonly report: Report) {}

  /** A package's file as a stream that is counted. Its checksum is left to the caller. */
  async response(path: string, type: string): Promise<Response> {
    const { bytes } = await expected(path);
    this.total += bytes;
    const { body } = await request(path, await addressOf(path));
    if (!body) return new Response(null);
    let left = bytes;
    const count = new TransformStream<Uint8Array, Uint8Array>({
      transform: (chunk, out) => {
        this.count(Math.min(left, chunk.length), path);
        left -= chunk.length;
        out.enqueue(chunk);
      },
    });
    return new Response(body.pipeThrough(count), { headers: { "Content-Type": type } });
  }

  private count(bytes: number, file: string): void {
    this.loaded += bytes;
    this.report({ loaded: this.loaded, total: this.total, file });
  }

  /** A package's file, once it is known to be the one that was put there. */
  async bytes(path: string): Promise<Uint8Array> {
    const response = await this.response(path, "application/octet-stream");
    let content: Uint8Array<ArrayBuffer>;
    try {
      content = new Uint8Array(await response.arrayBuffer());
    } catch {
      throw new UnavailableError(`${path} was cut off; load the page again`);
    }
    const found = await digest(content);
    if (found !== undefined && found !== (await expected(path)).sha256) {
      throw new ModelError(`${new URL(path, BASE).href}: not the file that was put there (SHA-256); load the page again, or make the site anew`);
    }
    return content;
  }
}

/** SHA-256 in hexadecimal digits; nothing where the page came over plain http, which has no `crypto.subtle`. */
async function digest(content: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  // The types say that it is always there.
  const subtle = crypto.subtle as SubtleCrypto | undefined;
  if (!subtle) return undefined;
  const hash = new Uint8Array(await subtle.digest("SHA-256", content));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A file that the caller named or gave: its bytes, and its name for messages. */
export async function given(source: FileSource, what: string): Promise<{ name: string; bytes: Uint8Array }> {
  if (typeof source === "string") {
    const response = await fetch(source).catch(() => undefined);
    if (!response?.ok) throw new ModelError(`${source}: ${response ? `status ${response.status}` : "cannot be reached"}; check the address`);
    const name = new URL(source, self.location.href).pathname.split("/").pop();
    return { name: name || source, bytes: new Uint8Array(await response.arrayBuffer()) };
  }
  if (source instanceof Blob) {
    const name = source instanceof File ? source.name : what;
    return { name, bytes: new Uint8Array(await source.arrayBuffer()) };
  }
  return { name: what, bytes: source instanceof Uint8Array ? source : new Uint8Array(source) };
}
