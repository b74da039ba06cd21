/** The photo with boxes around its faces, as the Python tool draws them. */
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { extname } from "node:path";
import sharp from "sharp";
import { AicliError, UsageError } from "../errors.js";
import type { Detection, Face } from "../results.js";
import { reason } from "./reason.js";

export interface DrawingOptions {
  readonly landmarks: boolean;
  readonly color: string;
  readonly lineWidth?: number | undefined;
}

const SUFFIXES = [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".avif"];

export function requireSuffix(path: string): void {
  if (!SUFFIXES.includes(extname(path).toLowerCase())) {
    throw new UsageError(`${path}: a picture's name ends in ${SUFFIXES.join(", ")}`);
  }
}

/** Writes the photo `source`, upright, with boxes to `path`; the file appears when it is complete. */
export async function writeBoxes(source: string, found: Detection, path: string, options: DrawingOptions): Promise<void> {
  if (existsSync(path) && realpathSync(path) === realpathSync(source)) {
    throw new UsageError(`${path}: this is the photo itself; give the picture another name`);
  }
  const part = `${path}.part`;
  try {
    const overlay = Buffer.from(boxesSvg(found, options));
    const upright = await sharp(readFileSync(source), { limitInputPixels: false, ignoreIcc: true })
      .autoOrient()
      .flatten({ background: "#fff" })
      .keepIccProfile()
      .composite([{ input: overlay, limitInputPixels: false }])
      .toFormat(extname(path).slice(1).toLowerCase() as keyof sharp.FormatEnum, { quality: 92 })
      .toBuffer();
    writeFileSync(part, upright);
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    throw new AicliError(`cannot write ${path}: ${reason(error)}`);
  }
}

function boxesSvg({ width, height, faces }: Detection, options: DrawingOptions): string {
  const marks = faces.map((face) => mark(face, width, height, options)).join("");
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${marks}</svg>`;
}

/** A rectangle just around the box, so that the line hides nothing of the face, and inside the image; dots on request. */
function mark({ box, landmarks }: Face, width: number, height: number, { color, lineWidth, landmarks: dots }: DrawingOptions): string {
  const clip = (value: number, most: number): number => Math.min(Math.max(value, 0), most);
  const [x1, y1, x2, y2] = [clip(box[0], width), clip(box[1], height), clip(box[2], width), clip(box[3], height)];
  if (x1 >= x2 || y1 >= y2) return "";
  const side = Math.min(x2 - x1, y2 - y1);
  // A heavy line would swallow a small face in a large photo.
  const line = lineWidth ?? Math.min(Math.max(2, Math.round(Math.min(width, height) / 250)), Math.max(1, Math.round(side / 14)));
  const [left, top] = [Math.max(0, Math.round(x1) - line), Math.max(0, Math.round(y1) - line)];
  const [right, bottom] = [Math.min(width, Math.round(x2) + line), Math.min(height, Math.round(y2) + line)];
  const rectangle =
    `<rect x="${left + line / 2}" y="${top + line / 2}" width="${Math.max(0, right - left - line)}" height="${Math.max(0, bottom - top - line)}"` +
    ` fill="none" stroke="${color}" stroke-width="${line}" shape-rendering="crispEdges"/>`;
  const radius = Math.min(Math.max(1, side / 28), 1.5 * line);
  const points = dots ? Object.values(landmarks) : [];
  return rectangle + points.map(([x, y]: readonly [number, number]) => `<circle cx="${x}" cy="${y}" r="${radius}" fill="${color}"/>`).join("");
}
