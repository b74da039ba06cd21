/**
 * Faces that the photo's border cuts through: they are looked for in a photo with a grey margin around it, as Python does.
 *
 * The margin also changes the scores of faces inside by a little: of what is found with it, only boxes that reach beyond
 * the border count.
 */
import type { Pixels } from "../guest/guest.js";
import type { Box, FoundFace, Point } from "../results.js";
import { byScore, SAME, shared } from "./turns.js";

/** Of the photo's shorter side: half a face that fills it, and so the part of it that may lie beyond. */
const MARGIN = 0.25;
const GREY = 127;
/** A larger photo, margin included, is made smaller: it costs time, and the guest has a limit. */
const MOST_PIXELS = 24_000_000;

/** Finds faces in pixels that are so many times smaller than the photo. */
export type FindSmaller = (pixels: Pixels, smaller: number) => FoundFace[];

/** What `find` answers for the photo, and faces that its border cuts through, best score first. Of what is cut, boxes and landmarks lie beyond the photo in part. */
export function findCut(find: FindSmaller, pixels: Pixels, mostPixels = MOST_PIXELS): FoundFace[] {
  const { width, height } = pixels;
  const whole = find(pixels, 1);
  const margin = Math.ceil(MARGIN * Math.min(width, height));
  const smaller = Math.ceil(Math.sqrt(((height + 2 * margin) * (width + 2 * margin)) / mostPixels));
  const found = find(reduced(framed(pixels, margin), smaller), smaller).map((face) => placed(face, smaller, margin));
  const cut = found.filter(({ box }) => reachesBeyond(box, width, height) && whole.every((other) => shared(box, other.box) < SAME));
  return byScore([...whole, ...cut]);
}

function framed({ data, width, height }: Pixels, margin: number): Pixels {
  const [across, rows] = [width + 2 * margin, height + 2 * margin];
  const made = new Uint8Array(3 * across * rows).fill(GREY);
  for (let y = 0; y < height; y++) {
    made.set(data.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((y + margin) * across + margin));
  }
  return { data: made, width: across, height: rows };
}

/** The photo, `times` times as small: averages of squares, smaller ones at the right and lower border, rounded as Pillow's `reduce` does. */
export function reduced(pixels: Pixels, times: number): Pixels {
  if (times === 1) return pixels;
  const { data, width, height } = pixels;
  const [across, rows] = [Math.ceil(width / times), Math.ceil(height / times)];
  const made = new Uint8Array(3 * across * rows);
  for (let y = 0, to = 0; y < rows; y++) {
    const high = Math.min(times, height - y * times);
    for (let x = 0; x < across; x++) {
      const wide = Math.min(times, width - x * times);
      const count = wide * high;
      const multiplier = Math.floor(2 ** 24 / count);
      for (let channel = 0; channel < 3; channel++) {
        let sum = count >> 1;
        for (let line = 0; line < high; line++) {
          let from = 3 * ((y * times + line) * width + x * times) + channel;
          for (let column = 0; column < wide; column++, from += 3) sum += data[from] ?? 0;
        }
        made[to++] = Math.floor((sum * multiplier) / 2 ** 24);
      }
    }
  }
  return { data: made, width: across, height: rows };
}

/** A face of the photo with its margin, in places of the photo itself. */
function placed(face: FoundFace, smaller: number, margin: number): FoundFace {
  const point = ([x, y]: Point): Point => [x * smaller - margin, y * smaller - margin];
  const [x1, y1, x2, y2] = face.box;
  return { ...face, box: [...point([x1, y1]), ...point([x2, y2])], landmarks: face.landmarks.map(point) };
}

/** Whether a box lies partly, but not wholly, outside the photo. */
function reachesBeyond([x1, y1, x2, y2]: Box, width: number, height: number): boolean {
  const outside = x1 < 0 || y1 < 0 || x2 > width || y2 > height;
  return outside && x1 < width && y1 < height && x2 > 0 && y2 > 0;
}
