/** What the tasks answer: the records of the Python tool, as plain objects. Coordinates are pixels of the upright image. */

export type Confidence = "very high" | "high" | "medium" | "low";
export type Point = readonly [x: number, y: number];
/** x1, y1, x2, y2; a box may reach beyond the image. */
export type Box = readonly [number, number, number, number];

export interface Prediction {
  /** The place of the class in the model's output. */
  readonly index: number;
  readonly label: string;
  /** 0 to 1, six places. */
  readonly score: number;
  readonly confidence: Confidence;
}

/** The five points of a face. Left and right are as seen in the image. */
export interface Landmarks {
  readonly left_eye: Point;
  readonly right_eye: Point;
  readonly nose: Point;
  readonly mouth_left: Point;
  readonly mouth_right: Point;
}

/** By how many degrees a photo is turned clockwise. */
export type Turn = 0 | 90 | 180 | 270;

export interface Face {
  readonly box: Box;
  readonly score: number;
  readonly landmarks: Landmarks;
  /**
   * How the photo has to be turned for the face to stand upright, where all four turns were looked at: left and right of
   * the landmarks are then as seen in the photo turned so. All places are those of the photo as it is.
   */
  readonly turn?: Turn;
}

/** A face as the guest gives it, nothing rounded yet; the landmarks in the order of {@link Landmarks}. */
export interface FoundFace {
  readonly box: Box;
  readonly score: number;
  readonly landmarks: readonly Point[];
  readonly turn?: Turn;
}

interface Answer {
  readonly image: string;
  /** Size of the upright image in pixels. */
  readonly width: number;
  readonly height: number;
  readonly model: string;
  /** Of a file with several frames or pages: how many, and which was looked at (from 0). */
  readonly frames?: number;
  readonly frame?: number;
}

/** The answer of a classifier for one image, best class first. */
export interface Classification extends Answer {
  readonly predictions: readonly Prediction[];
}

/** The faces of one image, best score first. */
export interface Detection extends Answer {
  readonly faces: readonly Face[];
}

/** The word beside a score: above 0.75 `very high`, above 0.5 `high`, above 0.2 `medium`, else `low`. */
export function confidence(score: number): Confidence {
  return score > 0.75 ? "very high" : score > 0.5 ? "high" : score > 0.2 ? "medium" : "low";
}

/** Rounded as Python rounds: halves to the even side. Exact for numbers that a guest gives, which are 32-bit floats. */
export function round(value: number, places: number): number {
  const power = 10 ** places;
  const scaled = value * power;
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  const rounded = (up ? below + 1 : below) / power;
  return rounded === 0 && value < 0 ? -0 : rounded;
}

/** A face from a record of the guest: box, score, five landmarks. */
export function readFace(row: readonly number[]): FoundFace {
  const at = (index: number): number => row[index] ?? 0;
  const points = Array.from({ length: 5 }, (_, index): Point => [at(5 + 2 * index), at(6 + 2 * index)]);
  return { box: [at(0), at(1), at(2), at(3)], score: at(4), landmarks: points };
}

export function makeFace({ box, score, landmarks, turn }: FoundFace): Face {
  const places = (value: number): number => round(value, 2);
  const point = (index: number): Point => {
    const [x, y] = landmarks[index] ?? [0, 0];
    return [places(x), places(y)];
  };
  return {
    box: [places(box[0]), places(box[1]), places(box[2]), places(box[3])],
    score: round(score, 6),
    landmarks: { left_eye: point(0), right_eye: point(1), nose: point(2), mouth_left: point(3), mouth_right: point(4) },
    ...(turn === undefined ? {} : { turn }),
  };
}
