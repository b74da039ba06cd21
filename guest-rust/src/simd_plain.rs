use crate::kernel::Kernel;

pub fn convolve_row(source: &[u8], kernel: &Kernel, target: &mut [u8]) {
    let half = 1 << (kernel.shift() - 1);
    for ((start, weights), pixel) in kernel.spans().zip(target.chunks_exact_mut(3)) {
        let mut sums = [half; 3];
        for (&weight, sample) in weights.iter().zip(source[start * 3..].chunks_exact(3)) {
            for (sum, &value) in sums.iter_mut().zip(sample) {
                *sum += i32::from(weight) * i32::from(value);
            }
        }
        for (value, sum) in pixel.iter_mut().zip(sums) {
            *value = (sum >> kernel.shift()).clamp(0, 255) as u8;
        }
    }
}

pub fn convolve_columns(rows: &[u8], offsets: &[u32], weights: &[i16], shift: u32, target: &mut [u8]) {
    for (index, value) in target.iter_mut().enumerate() {
        let mut sum = 1 << (shift - 1);
        for (&weight, &offset) in weights.iter().zip(offsets) {
            sum += i32::from(weight) * i32::from(rows[offset as usize + index]);
        }
        *value = (sum >> shift).clamp(0, 255) as u8;
    }
}

pub fn normalise(bytes: &[u8], mean: f32, factor: f32, out: &mut [f32]) {
    for (&byte, value) in bytes.iter().zip(out) {
        *value = (f32::from(byte) - mean) * factor;
    }
}

pub fn second_above(pairs: &[f32], threshold: f32, mut found: impl FnMut(usize)) {
    for (index, pair) in pairs.chunks_exact(2).enumerate() {
        if pair[1] > threshold {
            found(index);
        }
    }
}
