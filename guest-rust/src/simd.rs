//! The inner loops, with SIMD128 where the target has it and in plain Rust elsewhere; both give the same bytes.

use crate::kernel::Kernel;

/// Bytes of a buffer for a resized row of `pixels` pixels: vectors are stored whole.
pub fn target_bytes(pixels: usize) -> usize {
    pixels * 3 + 16
}

/// Bytes of a buffer for a row that a kernel reads: vectors are loaded whole, and there may be more taps than pixels.
pub fn source_bytes(kernel: &Kernel) -> usize {
    kernel.source().max(kernel.taps()) * 3 + 16
}

/// Two rows and their weights, for `convolve_columns`.
#[derive(Clone, Copy, Default)]
pub struct Tap {
    /// Where the first row starts.
    pub above: usize,
    /// Where the second row starts.
    pub below: usize,
    /// Weight of the first row in the lower half, of the second in the upper one.
    pub pair: u32,
}

#[cfg_attr(all(target_arch = "wasm32", target_feature = "simd128"), allow(dead_code))]
#[path = "simd_plain.rs"]
mod plain;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[path = "simd_wasm.rs"]
mod vector;

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
use plain as imp;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
use vector as imp;

/// Resizes one row of RGB pixels to `target`, which has the kernel's `target_bytes`; `source` has its `source_bytes`.
#[inline]
pub fn convolve_row(source: &[u8], kernel: &Kernel, target: &mut [u8]) {
    imp::convolve_row(source, kernel, target)
}

/// Weighs whole rows: `target[i]` is the sum of `weight * rows[start of row + i]`, rounded and cut to 0..=255.
#[inline]
pub fn convolve_columns(rows: &[u8], taps: &[Tap], target: &mut [u8]) {
    imp::convolve_columns(rows, taps, target)
}

/// `out[i] = (bytes[i] - mean) * factor`, as the four bytes of a single-precision number each.
#[inline]
pub fn normalise(bytes: &[u8], mean: f32, factor: f32, out: &mut [u8]) {
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
        let mut out = vec![0xff; bytes.len() * 4];
        normalise(&bytes, 127.5, 1.0 / 128.0, &mut out);
        for (&byte, value) in bytes.iter().zip(out.chunks_exact(4)) {
            assert_eq!(value, ((f32::from(byte) - 127.5) / 128.0).to_le_bytes());
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
