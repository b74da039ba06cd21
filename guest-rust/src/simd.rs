//! The inner loops, with SIMD128 where the target has it and in plain Rust elsewhere; both give the same bytes.

use crate::kernel::Kernel;

/// Bytes of a buffer for a row that a kernel reads: vectors are loaded whole, and there may be more taps than pixels.
pub(crate) fn source_bytes(kernel: &Kernel) -> usize {
    kernel.source().max(kernel.taps()) * 3 + 16
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

/// Resizes as many rows of RGB pixels as fill `target`. One begins each `pitch` bytes of `source`; the kernel's
/// `source_bytes` from there on are there.
#[inline]
pub(crate) fn convolve_rows(source: &[u8], pitch: usize, kernel: &Kernel, target: &mut [u8]) {
    imp::convolve_rows(source, pitch, kernel, target)
}

/// Weighs whole rows, of which one begins each `pitch` bytes: `target[i]` is the sum of `weight * row[i]`, rounded and cut
/// to 0..=255. There are two weights in each of `pairs`, the first in the lower half.
#[inline]
pub(crate) fn convolve_columns(rows: &[u8], pitch: usize, pairs: &[u32], target: &mut [u8]) {
    imp::convolve_columns(rows, pitch, pairs, target)
}

/// `out[i] = (bytes[i] - mean) * factor`, as the four bytes of a single-precision number each.
#[inline]
pub(crate) fn normalise(bytes: &[u8], mean: f32, factor: f32, out: &mut [u8]) {
    imp::normalise(bytes, mean, factor, out)
}

/// Calls `found` with the index of every pair whose second number is greater than `threshold`, in order.
#[inline]
pub(crate) fn second_above(pairs: &[f32], threshold: f32, found: impl FnMut(usize)) {
    imp::second_above(pairs, threshold, found)
}

/// On the wasm32 target both paths are there: byte for byte the same.
#[cfg(all(test, target_arch = "wasm32", target_feature = "simd128"))]
mod same_bytes {
    use super::*;
    use crate::kernel::Filter;

    /// Bytes that repeat in no period of interest.
    fn noise(count: usize) -> Vec<u8> {
        let mut state = 0x2545_f491u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn rows() {
        for (source, target) in [(1, 1), (2, 9), (9, 2), (17, 5), (224, 224), (640, 224), (1000, 31), (31, 1000)] {
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let mut kernel = Kernel::default();
                kernel.build(source, target, filter).unwrap();
                let pitch = source_bytes(&kernel) + 5;
                let pixels = noise(3 * pitch);
                let mut made = [vec![0; 9 * target], vec![0; 9 * target]];
                plain::convolve_rows(&pixels, pitch, &kernel, &mut made[0]);
                vector::convolve_rows(&pixels, pitch, &kernel, &mut made[1]);
                assert_eq!(made[0], made[1], "{source} to {target}, {filter:?}");
            }
        }
    }

    #[test]
    fn columns() {
        let rows = noise(4000);
        let pair = |first: i16, second: i16| u32::from(first as u16) | u32::from(second as u16) << 16;
        let pairs = [pair(9000, -1200), pair(7000, 1584), pair(-3000, 3000), pair(500, -1500), pair(2000, -1000)];
        for width in [1, 3, 15, 16, 17, 31, 32, 33, 47, 48, 200] {
            for count in 0..=pairs.len() {
                let mut made = [vec![0; width], vec![0; width]];
                plain::convolve_columns(&rows, 333, &pairs[..count], &mut made[0]);
                vector::convolve_columns(&rows, 333, &pairs[..count], &mut made[1]);
                assert_eq!(made[0], made[1], "{width}, {count} pairs");
            }
        }
    }

    #[test]
    fn normalised() {
        for count in [0, 1, 15, 16, 17, 300] {
            let bytes = noise(count);
            let mut made = [vec![0; 4 * count], vec![0; 4 * count]];
            plain::normalise(&bytes, 127.5, 1.0 / 127.5, &mut made[0]);
            vector::normalise(&bytes, 127.5, 1.0 / 127.5, &mut made[1]);
            assert_eq!(made[0], made[1], "{count}");
        }
    }

    #[test]
    fn pairs_above() {
        let pairs: Vec<f32> = noise(2 * 77).into_iter().map(|byte| f32::from(byte) / 255.0).collect();
        for count in [0, 1, 3, 4, 5, 77] {
            for threshold in [0.0, 0.5, 0.99, 2.0] {
                let mut made = [Vec::new(), Vec::new()];
                plain::second_above(&pairs[..2 * count], threshold, |index| made[0].push(index));
                vector::second_above(&pairs[..2 * count], threshold, |index| made[1].push(index));
                assert_eq!(made[0], made[1]);
            }
        }
    }
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
