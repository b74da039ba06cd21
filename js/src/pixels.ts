/** Pixels as callers give them, made RGB; and the limit on their number. */
import { ImageError, ImageTooLargeError, UsageError } from "./errors.js";
import { DEFAULT_MAX_PIXELS, type DecodedImage } from "./options.js";

/** Pixels of RGB or RGBA, as a canvas gives them. */
export interface ImageDataLike {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** Throws ImageTooLargeError for more pixels than allowed. */
export function checkSize(width: number, height: number, name: string, maxPixels: number = DEFAULT_MAX_PIXELS): void {
  if (!(Number.isInteger(maxPixels) && maxPixels >= 1)) throw new UsageError(`maxPixels is a number from 1, not ${maxPixels}`);
  if (width * height > maxPixels) {
    throw new ImageTooLargeError(`${name}: ${width} x ${height} pixels, more than the limit of ${maxPixels}; maxPixels (--max-pixels) gives more`);
  }
}

export function fromPixels({ width, height, data }: ImageDataLike, name: string, maxPixels?: number): DecodedImage {
  const channels = data.length / (width * height);
  if (!(Number.isInteger(width) && Number.isInteger(height) && width > 0 && height > 0) || (channels !== 3 && channels !== 4)) {
    throw new ImageError(`${name}: ${data.length} bytes for ${width} x ${height} pixels; give RGB or RGBA, a byte each`);
  }
  checkSize(width, height, name, maxPixels);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.length);
  return { name, width, height, frames: 1, data: channels === 3 ? bytes : onWhite(bytes) };
}

/** RGBA on white, with the rounding of Pillow's `paste`; into `rgb` where it is given. */
export function onWhite(rgba: Uint8Array | Uint8ClampedArray, rgb: Uint8Array = new Uint8Array((rgba.length / 4) * 3)): Uint8Array {
  for (let from = 0, to = 0; from < rgba.length; from += 4) {
    const alpha = rgba[from + 3] ?? 255;
    for (let channel = 0; channel < 3; channel++) {
      const sum = (rgba[from + channel] ?? 0) * alpha + 255 * (255 - alpha) + 128; // once rounded, as a whole
      rgb[to++] = (sum + (sum >> 8)) >> 8;
    }
  }
  return rgb;
}
