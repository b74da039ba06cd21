use crate::kernel::{unpair, Kernel, SHIFT};

const HALF: i32 = 1 << (SHIFT - 1);

pub(crate) fn convolve_rows(source: &[u8], pitch: usize, kernel: &Kernel, target: &mut [u8]) {
    for (y, row) in target.chunks_exact_mut(3 * kernel.target()).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
            let mut sums = [HALF; 3];
            let weights = kernel.pairs(x).iter().flat_map(|&pair| unpair(pair));
            for (weight, sample) in weights.zip(source[y * pitch + kernel.start(x) * 3..].chunks_exact(3)) {
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

pub(crate) fn convolve_columns(rows: &[u8], pitch: usize, pairs: &[u32], target: &mut [u8]) {
    for (index, value) in target.iter_mut().enumerate() {
        let weights = pairs.iter().flat_map(|&pair| unpair(pair));
        let sum = weights.zip(0..).map(|(weight, row)| weight * i32::from(rows[row * pitch + index])).sum::<i32>();
        *value = ((sum + HALF) >> SHIFT).clamp(0, 255) as u8;
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
