//! SIMD128. Loads and stores go through raw pointers, because a check for each would cost as much as the arithmetic:
//! every function checks once, at its start, that all of its accesses stay inside the slices.

#![allow(unsafe_code)]

use core::arch::wasm32::*;

use super::{plain, source_bytes};
use crate::kernel::{Kernel, SHIFT};

/// Pixels that `convolve_rows` makes at a time.
const GROUP: usize = 4;

/// # Safety
/// 16 bytes from `bytes + at` on are readable; they need no alignment.
#[inline(always)]
unsafe fn load(bytes: *const u8, at: usize) -> v128 {
    unsafe { v128_load(bytes.add(at).cast()) }
}

/// # Safety
/// 16 bytes from `bytes + at` on are writable; they need no alignment.
#[inline(always)]
unsafe fn store(bytes: *mut u8, at: usize, value: v128) {
    unsafe { v128_store(bytes.add(at).cast(), value) }
}

// Shuffles with constant places, never a swizzle: wasmer 1.1 computes a swizzle wrongly when its places are kept in a
// register across a loop (its Cranelift overwrites them).

/// The pixels r g b r g b at the start become r r g g b b 0 0 in 16 bits: what a dot product with two weights takes.
#[inline(always)]
fn first_two(pixels: v128) -> v128 {
    i8x16_shuffle::<0, 16, 3, 16, 1, 16, 4, 16, 2, 16, 5, 16, 16, 16, 16, 16>(pixels, i32x4_splat(0))
}

/// The same for the third and fourth pixel.
#[inline(always)]
fn last_two(pixels: v128) -> v128 {
    i8x16_shuffle::<6, 16, 9, 16, 7, 16, 10, 16, 8, 16, 11, 16, 16, 16, 16, 16>(pixels, i32x4_splat(0))
}

/// Four pixels of three bytes and one to spare, pushed together.
#[inline(always)]
fn pack(pixels: v128) -> v128 {
    i8x16_shuffle::<0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 16, 16, 16>(pixels, i32x4_splat(0))
}

/// A pair of weights in all lanes.
///
/// # Safety
/// There are more than `index` pairs.
#[inline(always)]
unsafe fn pair(pairs: *const u32, index: usize) -> v128 {
    unsafe { v128_load32_splat(pairs.add(index)) }
}

/// So many pairs of weights: they stay in registers, and a loop over them is unrolled.
///
/// # Safety
/// There are so many.
#[inline(always)]
unsafe fn known<const PAIRS: usize>(pairs: *const u32) -> impl Fn(usize) -> v128 {
    let mut weights = [u32x4_splat(0); PAIRS];
    for (index, weight) in weights.iter_mut().enumerate() {
        *weight = unsafe { pair(pairs, index) };
    }
    move |index| weights[index]
}

/// Adds a pixel's taps, red, green and blue, two by two.
///
/// # Safety
/// `pairs * 6 + 10` bytes from `pixels` on are readable.
#[inline(always)]
unsafe fn weigh_pixel(pixels: *const u8, pairs: usize, weight: &impl Fn(usize) -> v128) -> v128 {
    let mut sum = i32x4_splat(1 << (SHIFT - 1));
    for four in 0..pairs / 2 {
        let samples = unsafe { load(pixels, four * 12) };
        let left = i32x4_dot_i16x8(first_two(samples), weight(2 * four));
        let right = i32x4_dot_i16x8(last_two(samples), weight(2 * four + 1));
        sum = i32x4_add(sum, i32x4_add(left, right));
    }
    if pairs % 2 == 1 {
        let samples = unsafe { load(pixels, pairs / 2 * 12) };
        sum = i32x4_add(sum, i32x4_dot_i16x8(first_two(samples), weight(pairs - 1)));
    }
    i32x4_shr(sum, SHIFT)
}

/// Pixels that are made at a time, in one row after the other.
struct Group {
    source: *const u8,
    pitch: usize,
    /// Where in a row of the source each of them starts to read.
    starts: [usize; GROUP],
    target: *mut u8,
    /// Bytes of a row of the target.
    target_pitch: usize,
    rows: usize,
}

impl Group {
    /// # Safety
    /// In every row `pairs * 6 + 10` bytes from each start on are readable, and 12 of the target writable.
    #[inline(always)]
    unsafe fn convolve(&self, pairs: usize, weights: [impl Fn(usize) -> v128; GROUP]) {
        for row in 0..self.rows {
            let (source, target) =
                unsafe { (self.source.add(row * self.pitch), self.target.add(row * self.target_pitch)) };
            let sum = |pixel: usize| unsafe { weigh_pixel(source.add(self.starts[pixel]), pairs, &weights[pixel]) };
            let low = i16x8_narrow_i32x4(sum(0), sum(1));
            let high = i16x8_narrow_i32x4(sum(2), sum(3));
            let pixels = pack(u8x16_narrow_i16x8(low, high));
            unsafe {
                v128_store64_lane::<0>(pixels, target.cast());
                v128_store32_lane::<2>(pixels, target.add(8).cast());
            }
        }
    }
}

pub(crate) fn convolve_rows(source: &[u8], pitch: usize, kernel: &Kernel, target: &mut [u8]) {
    let (width, pairs) = (kernel.target(), kernel.taps() / 2);
    let rows = target.len() / (3 * width);
    if width < GROUP || rows == 0 {
        return plain::convolve_rows(source, pitch, kernel, target);
    }
    assert!(source.len() >= (rows - 1) * pitch + source_bytes(kernel));
    for first in (0..width).step_by(GROUP) {
        let first = first.min(width - GROUP); // the last group may overlap the one before
        let (starts, weights) = kernel.outputs(first..first + GROUP);
        let group = Group {
            source: source.as_ptr(),
            pitch,
            starts: [0, 1, 2, 3].map(|pixel| 3 * starts[pixel] as usize),
            target: target[3 * first..].as_mut_ptr(),
            target_pitch: 3 * width,
            rows,
        };
        let weights = [0, 1, 2, 3].map(|pixel| weights[pixel * pairs..].as_ptr());
        // SAFETY: a kernel's starts leave room for its taps, and `source_bytes` for the rest of the last load; each pixel
        // has so many pairs.
        unsafe {
            match pairs {
                1 => group.convolve(1, weights.map(|weights| known::<1>(weights))),
                2 => group.convolve(2, weights.map(|weights| known::<2>(weights))),
                3 => group.convolve(3, weights.map(|weights| known::<3>(weights))),
                4 => group.convolve(4, weights.map(|weights| known::<4>(weights))),
                _ => group.convolve(pairs, weights.map(|weights| move |index| pair(weights, index))),
            }
        }
    }
}

/// One vector of `convolve_columns`.
///
/// # Safety
/// 16 bytes from `rows` on in `2 * pairs` rows are readable, 16 from `target` on writable.
#[inline(always)]
unsafe fn weigh_vector(rows: *const u8, pitch: usize, pairs: usize, weight: &impl Fn(usize) -> v128, target: *mut u8) {
    let mut sums = [i32x4_splat(1 << (SHIFT - 1)); 4];
    for index in 0..pairs {
        let row = |below: usize| unsafe { rows.add((2 * index + below) * pitch) };
        for side in 0..2 {
            let eight = |row: *const u8| unsafe { u16x8_load_extend_u8x8(row.add(8 * side)) };
            let (above, below) = (eight(row(0)), eight(row(1)));
            let low = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(above, below);
            let high = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(above, below);
            sums[2 * side] = i32x4_add(sums[2 * side], i32x4_dot_i16x8(low, weight(index)));
            sums[2 * side + 1] = i32x4_add(sums[2 * side + 1], i32x4_dot_i16x8(high, weight(index)));
        }
    }
    let low = i16x8_narrow_i32x4(i32x4_shr(sums[0], SHIFT), i32x4_shr(sums[1], SHIFT));
    let high = i16x8_narrow_i32x4(i32x4_shr(sums[2], SHIFT), i32x4_shr(sums[3], SHIFT));
    unsafe { store(target, 0, u8x16_narrow_i16x8(low, high)) };
}

/// Calls `block` for each 16 of `length`, which are as many at least; the last may overlap the one before. Two in each
/// turn of the loop, because every turn asks for the time limit.
#[inline(always)]
fn each_sixteen(length: usize, block: impl Fn(usize)) {
    let mut at = 0;
    while at + 32 <= length {
        block(at);
        block(at + 16);
        at += 32;
    }
    if at + 16 <= length {
        block(at);
    }
    if length % 16 > 0 {
        block(length - 16);
    }
}

/// All vectors of `convolve_columns`.
///
/// # Safety
/// `target` has 16 bytes at least, and each of the `2 * pairs` rows as many as it.
#[inline(always)]
unsafe fn weigh_rows(rows: *const u8, pitch: usize, pairs: usize, weight: impl Fn(usize) -> v128, target: &mut [u8]) {
    let (length, target) = (target.len(), target.as_mut_ptr());
    each_sixteen(length, |at| unsafe { weigh_vector(rows.add(at), pitch, pairs, &weight, target.add(at)) });
}

pub(crate) fn convolve_columns(rows: &[u8], pitch: usize, pairs: &[u32], target: &mut [u8]) {
    if target.len() < 16 || pairs.is_empty() {
        return plain::convolve_columns(rows, pitch, pairs, target);
    }
    assert!(rows.len() >= (2 * pairs.len() - 1) * pitch + target.len());
    let (rows, count, pairs) = (rows.as_ptr(), pairs.len(), pairs.as_ptr());
    // SAFETY: all rows have as many bytes as the target, and there are so many pairs.
    unsafe {
        match count {
            1 => weigh_rows(rows, pitch, 1, known::<1>(pairs), target),
            2 => weigh_rows(rows, pitch, 2, known::<2>(pairs), target),
            3 => weigh_rows(rows, pitch, 3, known::<3>(pairs), target),
            4 => weigh_rows(rows, pitch, 4, known::<4>(pairs), target),
            _ => weigh_rows(rows, pitch, count, |index| pair(pairs, index), target),
        }
    }
}

pub(crate) fn normalise(bytes: &[u8], mean: f32, factor: f32, out: &mut [u8]) {
    let (means, factors) = (f32x4_splat(mean), f32x4_splat(factor));
    // 2^23 has the unit as its last bit: with a byte in place of its low bits it is 2^23 + byte. (Compilers make the
    // conversion of what cannot be negative an unsigned one, which x86 lacks.)
    let (bits, large) = (u32x4_splat(0x4b00_0000), f32x4_splat(8_388_608.0));
    let convert = |words: v128| {
        let real = f32x4_sub(v128_or(words, bits), large);
        f32x4_mul(f32x4_sub(real, means), factors)
    };
    let length = bytes.len();
    if length < 16 {
        return plain::normalise(bytes, mean, factor, out);
    }
    assert!(out.len() >= 4 * length);
    let (bytes, out) = (bytes.as_ptr(), out.as_mut_ptr());
    each_sixteen(length, |at| {
        // SAFETY: `at + 16` is at most `length`, and there are four bytes of `out` for each of `bytes`.
        unsafe {
            let sixteen = load(bytes, at);
            let (low, high) = (u16x8_extend_low_u8x16(sixteen), u16x8_extend_high_u8x16(sixteen));
            store(out, 4 * at, convert(u32x4_extend_low_u16x8(low)));
            store(out, 4 * at + 16, convert(u32x4_extend_high_u16x8(low)));
            store(out, 4 * at + 32, convert(u32x4_extend_low_u16x8(high)));
            store(out, 4 * at + 48, convert(u32x4_extend_high_u16x8(high)));
        }
    });
}

pub(crate) fn second_above(pairs: &[f32], threshold: f32, mut found: impl FnMut(usize)) {
    let limit = f32x4_splat(threshold);
    let blocks = pairs.chunks_exact(16);
    let rest = blocks.remainder();
    let before_rest = (pairs.len() - rest.len()) / 2;
    for (number, block) in blocks.enumerate() {
        let second = |at: usize| {
            // SAFETY: a block has 16 numbers, and `at` is 0 or 8.
            let (left, right) =
                unsafe { (load(block.as_ptr().cast(), 4 * at), load(block.as_ptr().cast(), 4 * at + 16)) };
            i32x4_shuffle::<1, 3, 5, 7>(left, right)
        };
        if v128_any_true(v128_or(f32x4_gt(second(0), limit), f32x4_gt(second(8), limit))) {
            plain::second_above(block, threshold, |index| found(number * 8 + index));
        }
    }
    plain::second_above(rest, threshold, |index| found(before_rest + index));
}
