use core::arch::wasm32::*;

use crate::kernel::Kernel;

#[allow(unsafe_code)]
#[inline(always)]
fn load(bytes: &[u8], at: usize) -> v128 {
    let bytes = &bytes[at..at + 16];
    // SAFETY: 16 bytes are there; a load needs no alignment.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

#[allow(unsafe_code)]
#[inline(always)]
fn store(bytes: &mut [u8], at: usize, value: v128) {
    let bytes = &mut bytes[at..at + 16];
    // SAFETY: 16 bytes are there; a store needs no alignment.
    unsafe { v128_store(bytes.as_mut_ptr().cast(), value) }
}

/// Two weights side by side, in all four places.
#[inline(always)]
fn pair(weights: &[i16], at: usize) -> v128 {
    i32x4_splat(i32::from(weights[at] as u16) | i32::from(weights[at + 1]) << 16)
}

/// The pixels r g b r g b at the start become r r g g b b 0 0 in 16 bits: what a dot product with two weights takes.
///
/// A shuffle with constant places rather than a swizzle, which wasmer 1.1 computes wrongly in a loop.
#[inline(always)]
fn first_two(pixels: v128) -> v128 {
    i8x16_shuffle::<0, 16, 3, 16, 1, 16, 4, 16, 2, 16, 5, 16, 16, 16, 16, 16>(pixels, i32x4_splat(0))
}

/// The same for the third and fourth pixel.
#[inline(always)]
fn last_two(pixels: v128) -> v128 {
    i8x16_shuffle::<6, 16, 9, 16, 7, 16, 10, 16, 8, 16, 11, 16, 16, 16, 16, 16>(pixels, i32x4_splat(0))
}

pub fn convolve_row(source: &[u8], kernel: &Kernel, target: &mut [u8]) {
    let half = i32x4_splat(1 << (kernel.shift() - 1));
    let shift = kernel.shift();
    for (index, (start, weights)) in kernel.spans().enumerate() {
        let pixels = &source[start * 3..];
        let mut sum = half;
        let mut tap = 0;
        while tap + 4 <= weights.len() {
            let four = load(pixels, tap * 3);
            let left = i32x4_dot_i16x8(first_two(four), pair(weights, tap));
            let right = i32x4_dot_i16x8(last_two(four), pair(weights, tap + 2));
            sum = i32x4_add(sum, i32x4_add(left, right));
            tap += 4;
        }
        if tap < weights.len() {
            let two = load(pixels, tap * 3);
            sum = i32x4_add(sum, i32x4_dot_i16x8(first_two(two), pair(weights, tap)));
        }
        let words = i32x4_shr(sum, shift);
        let words = i16x8_narrow_i32x4(words, words);
        let pixel = u8x16_narrow_i16x8(words, words);
        // The fourth byte is overwritten by the next pixel or lies in the padding.
        target[index * 3..][..4].copy_from_slice(&u32x4_extract_lane::<0>(pixel).to_le_bytes());
    }
}

pub fn convolve_columns(rows: &[u8], offsets: &[u32], weights: &[i16], shift: u32, target: &mut [u8]) {
    let half = i32x4_splat(1 << (shift - 1));
    for column in (0..target.len()).step_by(16) {
        let mut sums = [half; 4];
        for (offsets, weights) in offsets.chunks_exact(2).zip(weights.chunks_exact(2)) {
            let above = load(rows, offsets[0] as usize + column);
            let below = load(rows, offsets[1] as usize + column);
            let low = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(above, below);
            let high = i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(above, below);
            let weights = pair(weights, 0);
            sums[0] = i32x4_add(sums[0], i32x4_dot_i16x8(u16x8_extend_low_u8x16(low), weights));
            sums[1] = i32x4_add(sums[1], i32x4_dot_i16x8(u16x8_extend_high_u8x16(low), weights));
            sums[2] = i32x4_add(sums[2], i32x4_dot_i16x8(u16x8_extend_low_u8x16(high), weights));
            sums[3] = i32x4_add(sums[3], i32x4_dot_i16x8(u16x8_extend_high_u8x16(high), weights));
        }
        let low = i16x8_narrow_i32x4(i32x4_shr(sums[0], shift), i32x4_shr(sums[1], shift));
        let high = i16x8_narrow_i32x4(i32x4_shr(sums[2], shift), i32x4_shr(sums[3], shift));
        store(target, column, u8x16_narrow_i16x8(low, high));
    }
}

#[allow(unsafe_code)]
#[inline(always)]
fn load_numbers(numbers: &[f32], at: usize) -> v128 {
    let numbers = &numbers[at..at + 4];
    // SAFETY: four numbers are there; a load needs no alignment.
    unsafe { v128_load(numbers.as_ptr().cast()) }
}

#[allow(unsafe_code)]
#[inline(always)]
fn store_numbers(numbers: &mut [f32], at: usize, value: v128) {
    let numbers = &mut numbers[at..at + 4];
    // SAFETY: four numbers are there, and any bits are a number; a store needs no alignment.
    unsafe { v128_store(numbers.as_mut_ptr().cast(), value) }
}

pub fn normalise(bytes: &[u8], mean: f32, factor: f32, out: &mut [f32]) {
    let (means, factors) = (f32x4_splat(mean), f32x4_splat(factor));
    let convert = |words: v128| f32x4_mul(f32x4_sub(f32x4_convert_u32x4(words), means), factors);
    let mut blocks = bytes.chunks_exact(16);
    let mut targets = out.chunks_exact_mut(16);
    for (block, target) in (&mut blocks).zip(&mut targets) {
        let sixteen = load(block, 0);
        let (low, high) = (u16x8_extend_low_u8x16(sixteen), u16x8_extend_high_u8x16(sixteen));
        store_numbers(target, 0, convert(u32x4_extend_low_u16x8(low)));
        store_numbers(target, 4, convert(u32x4_extend_high_u16x8(low)));
        store_numbers(target, 8, convert(u32x4_extend_low_u16x8(high)));
        store_numbers(target, 12, convert(u32x4_extend_high_u16x8(high)));
    }
    for (&byte, value) in blocks.remainder().iter().zip(targets.into_remainder()) {
        *value = (f32::from(byte) - mean) * factor;
    }
}

pub fn second_above(pairs: &[f32], threshold: f32, mut found: impl FnMut(usize)) {
    let limit = f32x4_splat(threshold);
    let blocks = pairs.chunks_exact(16);
    let rest = blocks.remainder();
    let before_rest = (pairs.len() - rest.len()) / 2;
    for (number, block) in blocks.enumerate() {
        let second = |at: usize| i32x4_shuffle::<1, 3, 5, 7>(load_numbers(block, at), load_numbers(block, at + 4));
        let hits = v128_or(f32x4_gt(second(0), limit), f32x4_gt(second(8), limit));
        if v128_any_true(hits) {
            for (index, pair) in block.chunks_exact(2).enumerate() {
                if pair[1] > threshold {
                    found(number * 8 + index);
                }
            }
        }
    }
    for (index, pair) in rest.chunks_exact(2).enumerate() {
        if pair[1] > threshold {
            found(before_rest + index);
        }
    }
}
