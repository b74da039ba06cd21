/** Decoding by the browser: upright RGB pixels as the Python tool has them. */
import { ImageError } from "../errors.js";
import type { DecodedImage } from "../options.js";
import { checkSize, fromPixels } from "../pixels.js";
import type { WorkerImage } from "./messages.js";

/** A canvas has a largest area, 16 megapixels in some browsers; a photo is read in strips of less. */
const STRIP_PIXELS = 2 ** 21;

/** Colour profiles are left aside, and Exif's orientation is followed. */
const AS_STORED: ImageBitmapOptions = { colorSpaceConversion: "none", imageOrientation: "from-image" };

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
    return fromBitmap(bitmap, name, maxPixels);
  }
  return image instanceof ImageBitmap ? fromBitmap(image, name, maxPixels) : fromPixels(image, name, maxPixels);
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
