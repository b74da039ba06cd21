import type { ModelFile } from "../tflite/model.js";

/** A network made ready for one shape of its input; only one call at a time. */
export interface Plan {
  /** Copies the bytes of the input in; they fill it exactly. */
  write(data: Uint8Array): void;
  run(): void;
  /** The bytes of an output, valid until the next call of any plan. */
  read(output: number): Uint8Array;
  free(): void;
}

/** What runs networks. Both engines answer in the call itself: a guest cannot wait for a promise. */
export interface Engine {
  readonly name: EngineName;
  /** In a person's words: which build of which library. */
  readonly description: string;
  plan(model: ModelFile, shape: readonly number[]): Plan;
}

export const ENGINES = ["native", "wasm"] as const;
export type EngineName = (typeof ENGINES)[number];

/** The numbers that LiteRT has for types of elements (`LiteRtElementType`). */
export const ELEMENT_TYPES: Readonly<Record<string, number>> = {
  float32: 1, int32: 2, uint8: 3, int64: 4, bool: 6, int16: 7, int8: 9, float16: 10, float64: 11,
};
