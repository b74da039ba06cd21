// One implementation for `require` and `import`: errors caught on either side are of the same classes.
import aicli from "./dist/node/index.js";

export const {
  AicliError, Classifier, FaceDetector, GuestError, GuestFault, GuestMemoryError, GuestTimeout, GuestTrap, ImageError,
  ImageTooLargeError, InferenceError, LabelsError, ModelError, UnavailableError, UsageError,
} = aicli;
