//! SIMD128. Loads and stores go through raw pointers, because a check for each would cost as much as the arithmetic:
//! every function checks once, at its start, that all of its accesses stay inside the slices.

#![allow(unsafe_code)]

use core::arch::wasm32::*;

use super::{plain, source_bytes, target_bytes, Tap};
use crate::kernel::{Kernel, GROUP, SHIFT};

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

/// Adds a pixel's taps, red, green and blue, two by two.
///
/// # Safety
/// `pairs * 6 + 10` bytes from `pixels` on and `pairs` numbers from `weights` on are readable.
#[inline(always)]
unsafe fn weigh_pixel(pixels: *const u8, weights: *const u32, pairs: usize) -> v128 {
    let mut sum = i32x4_splat(1 << (SHIFT - 1));
    let weight = |pair: usize| unsafe { v128_load32_splat(weights.add(pair)) };
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
    sum
}

pub(crate) fn convolve_row(source: &[u8], kernel: &Kernel, target: &mut [u8]) {
    assert!(source.len() >= source_bytes(kernel) && target.len() >= target_bytes(kernel.target()));
    // SAFETY: the lengths fit the kernel.
    unsafe {
        match kernel.taps() / 2 {
            1 => convolve_groups(source, kernel, target, 1),
            2 => convolve_groups(source, kernel, target, 2),
            3 => convolve_groups(source, kernel, target, 3),
            4 => convolve_groups(source, kernel, target, 4),
            pairs => convolve_groups(source, kernel, target, pairs),
        }
    }
}

/// # Safety
/// `source` has the kernel's `source_bytes`, `target` its `target_bytes`; `pairs` is half its taps.
#[inline(always)]
unsafe fn convolve_groups(source: &[u8], kernel: &Kernel, target: &mut [u8], pairs: usize) {
    let (source, target) = (source.as_ptr(), target.as_mut_ptr());
    for (group, (starts, weights)) in kernel.groups().enumerate() {
        let weights = weights.as_ptr();
        // SAFETY: a kernel's starts leave room for its taps, and `source_bytes` for the rest of the last load.
        let sum = |index: usize| unsafe {
            let pixels = source.add(starts[index] as usize * 3);
            i32x4_shr(weigh_pixel(pixels, weights.add(index * pairs), pairs), SHIFT)
        };
        let low = i16x8_narrow_i32x4(sum(0), sum(1));
        let high = i16x8_narrow_i32x4(sum(2), sum(3));
        // What is too much is overwritten by the next group or lies in the spare bytes at the end.
        unsafe { store(target, group * 3 * GROUP, pack(u8x16_narrow_i16x8(low, high))) };
    }
}

/// One vector of `convolve_columns`, from `column` on.
///
/// # Safety
/// 16 bytes from `column` on lie in the target and in the rows of all taps.
#[inline(always)]
unsafe fn weigh_columns(rows: *const u8, taps: &[Tap], column: usize, target: *mut u8) {
    let mut sums = [i32x4_splat(1 << (SHIFT - 1)); 4];
    for tap in taps {
        let weights = u32x4_splat(tap.pair);
        for side in 0..2 {
            let (above, below) = unsafe {
                let at = column + 8 * side;
                (u16x8_load_extend_u8x8(rows.add(tap.above + at)), u16x8_load_extend_u8x8(rows.add(tap.below + at)))
            };
            let low = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(above, below);
            let high = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(above, below);
            sums[2 * side] = i32x4_add(sums[2 * side], i32x4_dot_i16x8(low, weights));
            sums[2 * side + 1] = i32x4_add(sums[2 * side + 1], i32x4_dot_i16x8(high, weights));
        }
    }
    let low = i16x8_narrow_i32x4(i32x4_shr(sums[0], SHIFT), i32x4_shr(sums[1], SHIFT));
    let high = i16x8_narrow_i32x4(i32x4_shr(sums[2], SHIFT), i32x4_shr(sums[3], SHIFT));
    unsafe { store(target, column, u8x16_narrow_i16x8(low, high)) };
}

/// All vectors of `convolve_columns`; the last one may overlap the one before.
///
/// # Safety
/// `length` is 16 at least, and that many bytes lie in the target and in the rows of all taps.
#[inline(always)]
unsafe fn weigh_all_columns(rows: *const u8, taps: &[Tap], length: usize, target: *mut u8) {
    let mut column = 0;
    while column + 16 <= length {
        unsafe { weigh_columns(rows, taps, column, target) };
        column += 16;
    }
    if column < length {
        unsafe { weigh_columns(rows, taps, length - 16, target) };
    }
}

pub(crate) fn convolve_columns(rows: &[u8], taps: &[Tap], target: &mut [u8]) {
    let length = target.len();
    for tap in taps {
        assert!(rows.len() >= length && tap.above.max(tap.below) <= rows.len() - length);
    }
    if length < 16 {
        return plain::convolve_columns(rows, taps, target);
    }
    let (rows, target) = (rows.as_ptr(), target.as_mut_ptr());
    // SAFETY: all columns are below `length`, and the rows of all taps are that long. With a known number of taps the
    // loop over them is unrolled and their weights stay in registers.
    unsafe {
        match *taps {
            [a] => weigh_all_columns(rows, &[a], length, target),
            [a, b] => weigh_all_columns(rows, &[a, b], length, target),
            [a, b, c] => weigh_all_columns(rows, &[a, b, c], length, target),
            [a, b, c, d] => weigh_all_columns(rows, &[a, b, c, d], length, target),
            _ => weigh_all_columns(rows, taps, length, target),
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
    let block = |at: usize| {
        // SAFETY: `at + 16` is at most `length`, and there are four bytes of `out` for each of `bytes`.
        unsafe {
            let sixteen = load(bytes, at);
            let (low, high) = (u16x8_extend_low_u8x16(sixteen), u16x8_extend_high_u8x16(sixteen));
            store(out, 4 * at, convert(u32x4_extend_low_u16x8(low)));
            store(out, 4 * at + 16, convert(u32x4_extend_high_u16x8(low)));
            store(out, 4 * at + 32, convert(u32x4_extend_low_u16x8(high)));
            store(out, 4 * at + 48, convert(u32x4_extend_high_u16x8(high)));
        }
    };
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
        block(length - 16); // overlaps the one before
    }
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
