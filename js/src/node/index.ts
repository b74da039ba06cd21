export { Classifier, type ClassifierOptions } from "./classifier.js";
export {
  AicliError, GuestError, GuestFault, GuestMemoryError, GuestTrap, ImageError, ImageTooLargeError, InferenceError,
  LabelsError, ModelError, UnavailableError, UsageError,
} from "../errors.js";
export { FaceDetector, type FaceDetectorOptions } from "./faces.js";
export type { ImageSource } from "./image.js";
export type { EngineName } from "../nn/engine.js";
export type { Box, Classification, Confidence, Detection, Face, Landmarks, Point, Prediction, Turn } from "../results.js";
export type { ImageDataLike } from "../pixels.js";
