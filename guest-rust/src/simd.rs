//! The inner loops, with SIMD128 where the target has it and in plain Rust elsewhere; both give the same bytes.

use crate::kernel::Kernel;

/// Bytes of a buffer for a row of `bytes`: whole vectors, with room for one pixel more.
pub fn padded(bytes: usize) -> usize {
    (bytes + 1 + 15) & !15
}

/// Bytes that `convolve_row` may read of a row of `pixels` pixels.
pub fn row_bytes(pixels: usize) -> usize {
    pixels * 3 + 16
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "simd_wasm.rs"]
mod imp;
#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[path = "simd_plain.rs"]
mod imp;

/// Resizes one row of RGB pixels to `target`, whose length is `padded(3 * the kernel's outputs)`.
///
/// `source` has `row_bytes` of the kernel's source size (or of its taps, where there are more of them).
#[inline]
pub fn convolve_row(source: &[u8], kernel: &Kernel, target: &mut [u8]) {
    imp::convolve_row(source, kernel, target)
}

/// Weighs whole rows: `target[i] = sum of weights[t] * rows[offsets[t] + i]`, rounded and cut to 0..=255.
///
/// The length of `target` is a multiple of 16, the number of weights is even.
#[inline]
pub fn convolve_columns(rows: &[u8], offsets: &[u32], weights: &[i16], shift: u32, target: &mut [u8]) {
    imp::convolve_columns(rows, offsets, weights, shift, target)
}
