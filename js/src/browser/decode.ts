/** Decoding by the browser: upright RGB pixels as the Python tool has them. */
import { ImageError } from "../errors.js";
import type { DecodedImage } from "../options.js";
import { checkSize, fromPixels } from "../pixels.js";
import type { WorkerImage } from "./messages.js";

/** A canvas has a largest area, 16 megapixels in some browsers; a photo is read in strips of less. */
const STRIP_PIXELS = 2 ** 21;

/** Colour profiles are left aside, Exif's orientation is followed, and colours are mixed with white once, below. */
const AS_STORED: ImageBitmapOptions = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };

/** Throws ImageError or ImageTooLargeError. */
export async function decode(image: WorkerImage, name: string, maxPixels: number | undefined): Promise<DecodedImage> {
  if (image instanceof Blob) {
    if (!image.size) throw new ImageError(`${name}: empty; nothing to decode, get the file again`);
    let bitmap: ImageBitmap;
    try {
      bitmap = await createImageBitmap(image, AS_STORED);
    } catch {
      throw new ImageError(`${name}: not an image, damaged, or a format that this browser does not read; give a JPEG, PNG, WebP or GIF file`);
    }
    return { ...fromBitmap(bitmap, name, maxPixels), frames: await framesOf(image) };
  }
  return image instanceof ImageBitmap ? fromBitmap(image, name, maxPixels) : fromPixels(image, name, maxPixels);
}

/** What of `ImageDecoder` is used: not every browser has it, and none on a page that came over plain http. */
interface Decoder {
  readonly completed: Promise<void>;
  readonly tracks: { readonly selectedTrack: { readonly frameCount: number } | null };
  close(): void;
}
declare const ImageDecoder: (new (init: { data: Blob | ReadableStream; type: string }) => Decoder) | undefined;

/** The formats of animations by how their files begin; `.` stands for any byte. */
const ANIMATED: readonly (readonly [string, string])[] = [["GIF8", "image/gif"], ["RIFF....WEBP", "image/webp"], ["\x89PNG", "image/png"], ["....ftypavi", "image/avif"]];

/** How many pictures a file holds, of which the first is looked at; 1 where the browser does not say. */
async function framesOf(image: Blob): Promise<number> {
  const head = String.fromCharCode(...new Uint8Array(await image.slice(0, 16).arrayBuffer()));
  const [, type] = ANIMATED.find(([begin]) => [...begin].every((char, place) => char === "." || char === head[place])) ?? [];
  if (!type || typeof ImageDecoder === "undefined") return 1;
  try {
    const decoder = new ImageDecoder({ data: image.stream(), type });
    await decoder.completed;
    const frames = decoder.tracks.selectedTrack?.frameCount ?? 1;
    decoder.close();
    return frames;
  } catch {
    return 1;
  }
}

/** What is transparent becomes white. */
function fromBitmap(bitmap: ImageBitmap, name: string, maxPixels: number | undefined): DecodedImage {
  const { width, height } = bitmap;
  try {
    checkSize(width, height, name, maxPixels);
    const rows = Math.min(height, Math.max(1, Math.floor(STRIP_PIXELS / width)));
    const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true, alpha: false });
    if (!context) throw new ImageError(`${name}: this browser has no room for a photo ${width} pixels wide`);
    const data = new Uint8Array(width * height * 3);
    for (let top = 0, to = 0; top < height; top += rows) {
      const count = Math.min(rows, height - top);
      context.fillStyle = "#fff";
      context.fillRect(0, 0, width, count);
      context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
      to = withoutAlpha(context.getImageData(0, 0, width, count).data, data, to);
    }
    return { name, width, height, frames: 1, data };
  } finally {
    bitmap.close();
  }
}

/** Copies opaque RGBA as RGB to `rgb` from the place `to`; the place behind. */
function withoutAlpha(rgba: Uint8ClampedArray, rgb: Uint8Array, to: number): number {
  for (let from = 0; from < rgba.length; from += 4) {
    rgb[to++] = rgba[from] ?? 0;
    rgb[to++] = rgba[from + 1] ?? 0;
    rgb[to++] = rgba[from + 2] ?? 0;
  }
  return to;
}
