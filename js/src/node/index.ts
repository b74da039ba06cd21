export { Classifier } from "./classifier.js";
export {
  AicliError, GuestError, GuestFault, GuestMemoryError, GuestTimeout, GuestTrap, ImageError, ImageTooLargeError, InferenceError,
  LabelsError, ModelError, UnavailableError, UsageError,
} from "../errors.js";
export { FaceDetector } from "./faces.js";
export type { ClassifierOptions, FaceDetectorOptions } from "./local.js";
export type { ImageSource } from "./image.js";
export type { EngineName } from "../nn/engine.js";
export type { Box, Classification, Confidence, Detection, Face, Landmarks, Point, Prediction, Turn } from "../results.js";
export type { ImageDataLike } from "../pixels.js";
