/** Decoding: from a path, bytes or pixels to upright RGB pixels, as the Python tool decodes them. */
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import sharp from "sharp";
import { ImageError } from "../errors.js";
import type { DecodedImage } from "../options.js";
import { checkSize, fromPixels, type ImageDataLike, onWhite } from "../pixels.js";
import { reason } from "./reason.js";

/** A path, the bytes of a file, or pixels. */
export type ImageSource = string | Uint8Array | ArrayBuffer | ImageDataLike;

const KINDS = "give a JPEG, PNG, WebP, AVIF, GIF or TIFF file";

/**
 * Decodes the first frame, turns it upright and makes it RGB; what is transparent becomes white, colour profiles are
 * left aside. Throws ImageError or ImageTooLargeError.
 */
export async function openImage(
  source: ImageSource,
  { name, maxPixels }: { name?: string | undefined; maxPixels?: number | undefined } = {},
): Promise<DecodedImage> {
  if (typeof source === "string") return decode(await readPath(source), name ?? source, maxPixels);
  if (source instanceof ArrayBuffer) return decode(new Uint8Array(source), name ?? "<bytes>", maxPixels);
  if (source instanceof Uint8Array) return decode(source, name ?? "<bytes>", maxPixels);
  if (typeof source === "object" && source !== null && "data" in source) return fromPixels(source, name ?? "<pixels>", maxPixels);
  throw new TypeError("an image is a path, bytes, or an object with width, height and data (RGB or RGBA)");
}

async function readPath(path: string): Promise<Uint8Array> {
  try {
    // A named pipe must not make the program wait.
    const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const status = await file.stat();
      if (status.isDirectory()) throw new ImageError(`${path}: a folder, not an image; give the image files in it`);
      if (!status.isFile()) throw new ImageError(`${path}: no regular file; give the bytes of the image instead`);
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof ImageError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" && path.includes("://")) throw new ImageError(`${path}: an address, not a file; download the image first`);
    if (code === "ENOENT") throw new ImageError(`${path}: no such file; check the path`);
    if (code === "EACCES") throw new ImageError(`${path}: no permission to read it; check the permissions of the file and its folders`);
    throw new ImageError(`${path}: cannot be read (${reason(error)}); check the path and the disk`);
  }
}

async function decode(bytes: Uint8Array, name: string, maxPixels?: number): Promise<DecodedImage> {
  if (!bytes.length) throw new ImageError(`${name}: empty; nothing to decode, get the file again`);
  let header: sharp.Metadata;
  try {
    header = await sharp(bytes, { limitInputPixels: false }).metadata();
  } catch {
    throw new ImageError(`${name}: not an image, or a format that is not supported; ${KINDS}`);
  }
  if (header.format === "svg" || header.format === "pdf") {
    throw new ImageError(`${name}: a drawing (${header.format}), not an image; ${KINDS}`);
  }
  checkSize(header.width, header.height, name, maxPixels);
  if (header.depth !== "uchar" && header.depth !== "ushort") {
    throw new ImageError(`${name}: samples of the type ${header.depth}, which have no fixed range; save it with 8 or 16 bits`);
  }
  try {
    const upright = sharp(bytes, { limitInputPixels: false, ignoreIcc: true, failOn: "truncated" }).autoOrient();
    const { data, info } = await samples(upright, header);
    return { name, data, width: info.width, height: info.height, frames: header.pages ?? 1 };
  } catch (error) {
    const said = (error instanceof Error ? error.message : String(error)).split("\n")[0];
    throw new ImageError(`${name}: damaged or cut off (${said}); get the file again`);
  }
}

interface Raw {
  readonly data: Uint8Array;
  readonly info: sharp.OutputInfo;
}

/** RGB, 8 bits a sample, with Pillow's arithmetic where libvips has another. */
async function samples(image: sharp.Sharp, { space, depth, hasAlpha }: sharp.Metadata): Promise<Raw> {
  if (space === "cmyk") {
    const { data, info } = await image.pipelineColourspace("cmyk").toColourspace("cmyk").raw().toBuffer({ resolveWithObject: true });
    if (info.channels === 4) return { data: fromCmyk(data), info };
  }
  if (depth === "ushort" && space === "grey16" && !hasAlpha) {
    const { data, info } = await image.toColourspace("grey16").raw({ depth: "ushort" }).toBuffer({ resolveWithObject: true });
    return { data: fromGrey16(data, info.width * info.height, info.channels), info };
  }
  const { data, info } = await image.toColourspace("srgb").raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  if (info.channels === 4) return { data: onWhite(data), info };
  if (info.channels !== 3) throw new Error(`${info.channels} channels`);
  return { data, info };
}

/** `(a * b) / 255`, rounded, as Pillow computes it. */
function multiplied(a: number, b: number): number {
  const sum = a * b + 128;
  return (sum + (sum >> 8)) >> 8;
}

function fromCmyk(cmyk: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((cmyk.length / 4) * 3);
  for (let from = 0, to = 0; from < cmyk.length; from += 4) {
    const light = 255 - (cmyk[from + 3] ?? 0);
    for (let channel = 0; channel < 3; channel++) rgb[to++] = light - multiplied(cmyk[from + channel] ?? 0, light);
  }
  return rgb;
}

function fromGrey16(bytes: Uint8Array, pixels: number, channels: number): Uint8Array {
  const grey = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  const rgb = new Uint8Array(pixels * 3);
  for (let pixel = 0; pixel < pixels; pixel++) {
    rgb.fill(Math.floor(((grey[pixel * channels] ?? 0) * 255 + 32767) / 65535), 3 * pixel, 3 * pixel + 3);
  }
  return rgb;
}
