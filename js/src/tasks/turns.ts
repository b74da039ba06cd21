/** Faces of a photo that nobody turned upright: all four turns are looked at, and the answers merged, as Python does. */
import type { Pixels } from "../guest/guest.js";
import type { Box, FoundFace, Point, Turn } from "../results.js";

/** Two boxes of different turns are one face when they share this part of the smaller one. */
export const SAME = 0.5;
const TURNS = [0, 90, 180, 270] as const;

export type Find = (pixels: Pixels) => FoundFace[];

/**
 * What `find` answers for the photo and its three turns, in places of the photo as it is, best score first. Of faces
 * that are found in several turns the one with the best score stays. `maxFaces` of 0 is all.
 */
export function findTurned(find: Find, pixels: Pixels, maxFaces: number): FoundFace[] {
  const { width, height } = pixels;
  const found = TURNS.flatMap((turn) => find(turned(pixels, turn)).map((face) => turnedBack(face, turn, width, height)));
  const kept: FoundFace[] = [];
  for (const face of byScore(found)) {
    if (kept.every((other) => face.turn === other.turn || shared(face.box, other.box) < SAME)) kept.push(face);
  }
  return maxFaces ? kept.slice(0, maxFaces) : kept;
}

export function byScore(faces: readonly FoundFace[]): FoundFace[] {
  return [...faces].sort((one, other) => other.score - one.score);
}

/** The photo turned clockwise. */
function turned({ data, width, height }: Pixels, turn: Turn): Pixels {
  if (turn === 0) return { data, width, height };
  // Where the first pixel of the turned photo comes from, and how far away its neighbours to the right and below are.
  const [first, right, down] = {
    90: [(height - 1) * width, -width, 1],
    180: [height * width - 1, -1, -width],
    270: [width - 1, width, -1],
  }[turn] as [number, number, number];
  const [across, rows] = turn === 180 ? [width, height] : [height, width];
  const made = new Uint8Array(data.length);
  for (let y = 0, to = 0; y < rows; y++) {
    for (let x = 0, from = 3 * (first + y * down); x < across; x++, from += 3 * right) {
      made[to++] = data[from] ?? 0;
      made[to++] = data[from + 1] ?? 0;
      made[to++] = data[from + 2] ?? 0;
    }
  }
  return { data: made, width: across, height: rows };
}

/** A face of a photo of `width` x `height` that was turned clockwise, in places of the photo as it was. */
function turnedBack({ box, score, landmarks }: FoundFace, turn: Turn, width: number, height: number): FoundFace {
  const back = ([x, y]: Point): Point => {
    if (turn === 90) return [y, height - x];
    if (turn === 180) return [width - x, height - y];
    return turn === 270 ? [width - y, x] : [x, y];
  };
  const [ax, ay] = back([box[0], box[1]]);
  const [bx, by] = back([box[2], box[3]]);
  return { box: [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)], score, landmarks: landmarks.map(back), turn };
}

/** The common area of two boxes as a part of the smaller one. */
export function shared(one: Box, other: Box): number {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  if (width <= 0 || height <= 0) return 0;
  const smaller = Math.min(area(one), area(other));
  return smaller > 0 ? (width * height) / smaller : 0;
}

const area = ([x1, y1, x2, y2]: Box): number => (x2 - x1) * (y2 - y1);
