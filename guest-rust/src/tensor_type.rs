//! The numbers of element types on both sides of the border.

/// Element types of tensors, by their numbers in the witx dialect of wasi-nn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TensorType {
    /// IEEE 754 half precision.
    F16 = 0,
    /// IEEE 754 single precision.
    F32 = 1,
    /// Bytes; signed ones and 16-bit integers travel under this number too.
    U8 = 3,
}
