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

/// `out[i] = (bytes[i] - mean) * factor`; both have the same length.
#[inline]
pub fn normalise(bytes: &[u8], mean: f32, factor: f32, out: &mut [f32]) {
    imp::normalise(bytes, mean, factor, out)
}

/// Calls `found` with the index of every pair whose second number is greater than `threshold`, in order.
#[inline]
pub fn second_above(pairs: &[f32], threshold: f32, found: impl FnMut(usize)) {
    imp::second_above(pairs, threshold, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_normalised() {
        let bytes: Vec<u8> = (0..=255).chain(0..7).collect();
        let mut out = vec![f32::NAN; bytes.len()];
        normalise(&bytes, 127.5, 1.0 / 128.0, &mut out);
        for (&byte, value) in bytes.iter().zip(out) {
            assert_eq!(value, (f32::from(byte) - 127.5) / 128.0);
        }
    }

    #[test]
    fn pairs_above_a_threshold_are_found_in_order() {
        let mut pairs = vec![0.9; 26];
        for index in [1, 4, 7, 12] {
            pairs[2 * index + 1] = 0.95;
        }
        pairs[2 * 5 + 1] = f32::NAN;
        let mut found = Vec::new();
        second_above(&pairs, 0.9, |index| found.push(index));
        assert_eq!(found, [1, 4, 7, 12]);
    }
}
