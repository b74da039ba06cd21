use super::Tap;
use crate::kernel::{unpair, Kernel, GROUP, SHIFT};

const HALF: i32 = 1 << (SHIFT - 1);

pub(crate) fn convolve_row(source: &[u8], kernel: &Kernel, target: &mut [u8]) {
    for ((starts, weights), pixels) in kernel.groups().zip(target.chunks_mut(3 * GROUP)) {
        let outputs = starts.iter().zip(weights.chunks_exact(kernel.taps() / 2));
        for ((&start, pairs), pixel) in outputs.zip(pixels.chunks_exact_mut(3)) {
            let mut sums = [HALF; 3];
            let weights = pairs.iter().flat_map(|&pair| unpair(pair));
            for (weight, sample) in weights.zip(source[start as usize * 3..].chunks_exact(3)) {
                for (sum, &value) in sums.iter_mut().zip(sample) {
                    *sum += weight * i32::from(value);
                }
            }
            for (value, sum) in pixel.iter_mut().zip(sums) {
                *value = (sum >> SHIFT).clamp(0, 255) as u8;
            }
        }
    }
}

pub(crate) fn convolve_columns(rows: &[u8], taps: &[Tap], target: &mut [u8]) {
    for (index, value) in target.iter_mut().enumerate() {
        let mut sum = HALF;
        for tap in taps {
            let weights = unpair(tap.pair);
            sum += weights[0] * i32::from(rows[tap.above + index]) + weights[1] * i32::from(rows[tap.below + index]);
        }
        *value = (sum >> SHIFT).clamp(0, 255) as u8;
    }
}

pub(crate) fn normalise(bytes: &[u8], mean: f32, factor: f32, out: &mut [u8]) {
    for (&byte, value) in bytes.iter().zip(out.chunks_exact_mut(4)) {
        value.copy_from_slice(&((f32::from(byte) - mean) * factor).to_le_bytes());
    }
}

pub(crate) fn second_above(pairs: &[f32], threshold: f32, mut found: impl FnMut(usize)) {
    for (index, pair) in pairs.chunks_exact(2).enumerate() {
        if pair[1] > threshold {
            found(index);
        }
    }
}
