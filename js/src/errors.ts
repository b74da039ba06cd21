/**
 * Every error that the package throws on purpose, with the exit code that the command gives it.
 *
 *     AicliError                 1
 *     |-- ImageError             1   this image cannot be answered; others can
 *     |   `-- ImageTooLargeError 1
 *     |-- UsageError             2   the request itself is wrong
 *     |   |-- ModelError         2   no such model, no TFLite file, no classifier
 *     |   |   `-- LabelsError    2   the labels do not fit the model
 *     |   |-- GuestError         2   the guest lacks exports, has the wrong ABI version, is no module
 *     |   `-- UnavailableError   2   an engine is not installed
 *     `-- GuestFault             1   the guest failed while it worked on one image
 *         |-- GuestTrap          1   it trapped
 *         |-- GuestTimeout       1   it used up the time that it may take
 *         |-- GuestMemoryError   1   it could not get the memory it needs
 *         `-- InferenceError     1   the network behind it failed
 */
export class AicliError extends Error {
  readonly exitCode: number = 1;
  override get name(): string {
    return this.constructor.name;
  }
}

export class ImageError extends AicliError {}
export class ImageTooLargeError extends ImageError {}

export class UsageError extends AicliError {
  override readonly exitCode = 2;
}
export class ModelError extends UsageError {}
export class LabelsError extends ModelError {}
export class GuestError extends UsageError {}
export class UnavailableError extends UsageError {}

export class GuestFault extends AicliError {}
export class GuestTrap extends GuestFault {}
export class GuestTimeout extends GuestFault {}
export class GuestMemoryError extends GuestFault {}
export class InferenceError extends GuestFault {}
