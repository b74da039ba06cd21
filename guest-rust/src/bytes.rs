//! Numbers as their bytes.

#![allow(unsafe_code)]

/// The bytes of a tensor of numbers, to be written.
pub(crate) fn bytes_of_mut(numbers: &mut [f32]) -> &mut [u8] {
    // SAFETY: every f32 is four initialised bytes, any four bytes are an f32, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), std::mem::size_of_val(numbers)) }
}
