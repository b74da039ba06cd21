//! Antialiased resizing of RGB images in two passes, with bytes in between as in Pillow.
//!
//! Nothing as large as the image is ever stored: every finished row goes to the caller at once.

use crate::failure::{resize, Failure};
use crate::kernel::{Filter, Kernel};
use crate::simd::{self, Tap};

/// A rectangle of an RGB image; what lies beyond the image is black.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// `image_width * image_height * 3` bytes.
    pixels: &'a [u8],
    image_width: usize,
    image_height: usize,
    left: isize,
    top: isize,
    width: usize,
    height: usize,
}

impl<'a> View<'a> {
    /// The whole image; `pixels` has `width * height * 3` bytes, neither side is 0.
    pub(crate) fn whole(pixels: &'a [u8], width: usize, height: usize) -> View<'a> {
        debug_assert!(width > 0 && height > 0 && pixels.len() == width * height * 3);
        View { pixels, image_width: width, image_height: height, left: 0, top: 0, width, height }
    }

    /// Another rectangle of the same image; neither side is 0.
    pub(crate) fn crop(&self, left: isize, top: isize, width: usize, height: usize) -> View<'a> {
        debug_assert!(width > 0 && height > 0);
        View { left, top, width, height, ..*self }
    }

    /// Width in pixels.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub(crate) fn height(&self) -> usize {
        self.height
    }

    /// The part of row `y`, of those of the image, that lies inside both the view and the image; where it starts.
    fn row(&self, y: usize) -> &'a [u8] {
        let (first, end) = self.columns();
        &self.pixels[y * self.image_width * 3..][first * 3..end * 3]
    }

    /// Columns of the image that the view shows: the first and the one behind the last.
    fn columns(&self) -> (usize, usize) {
        let width = self.image_width as isize;
        let first = self.left.clamp(0, width);
        (first as usize, (self.left + self.width as isize).clamp(first, width) as usize)
    }
}

/// Resizes images one after the other and keeps its buffers.
#[derive(Default)]
pub(crate) struct Resizer {
    horizontal: KernelCache,
    vertical: KernelCache,
    rows: Vec<u8>,
    line: Vec<u8>,
    row: Vec<u8>,
    taps: Vec<Tap>,
}

impl Resizer {
    /// Resizes a view that lies inside its image to `width` x `height` and hands each finished row, `width * 3` bytes,
    /// to `sink(y, row)`. Rows first, then columns, as Pillow does up to version 12 (later ones choose the cheaper).
    ///
    /// The passes are interleaved: only as many horizontally resized rows are kept as one output row needs.
    pub(crate) fn rows_first(
        &mut self,
        view: View,
        width: usize,
        height: usize,
        filter: Filter,
        mut sink: impl FnMut(usize, &[u8]),
    ) -> Result<(), Failure> {
        let across = self.horizontal.get(view.width, width, filter)?;
        let down = self.vertical.get(view.height, height, filter)?;
        let kept = down.taps();
        let pitch = simd::target_bytes(width);
        resize(&mut self.rows, kept.checked_mul(pitch).ok_or_else(Failure::out_of_memory)?, 0)?;
        resize(&mut self.line, simd::source_bytes(across), 0)?;
        resize(&mut self.row, width * 3, 0)?;
        resize(&mut self.taps, kept / 2, Tap::default())?;
        let mut ready = 0;
        for y in 0..height {
            let start = down.start(y);
            for source in ready.max(start)..(start + kept).min(view.height) {
                let target = &mut self.rows[source % kept * pitch..][..pitch];
                let pixels = view.row(source + view.top as usize);
                if view.width == width {
                    target[..pixels.len()].copy_from_slice(pixels);
                } else {
                    self.line[..pixels.len()].copy_from_slice(pixels);
                    simd::convolve_row(&self.line, across, target);
                }
                ready = source + 1;
            }
            let place = |tap: usize| (start + tap).min(view.height - 1) % kept * pitch;
            for (index, (tap, &pair)) in self.taps.iter_mut().zip(down.pairs(y)).enumerate() {
                *tap = Tap { above: place(2 * index), below: place(2 * index + 1), pair };
            }
            simd::convolve_columns(&self.rows, &self.taps, &mut self.row);
            sink(y, &self.row);
        }
        Ok(())
    }

    /// The same for a view that may reach beyond its image, columns first, with a triangle filter. It needs less than
    /// half the time when an image shrinks, and rounds in another place.
    pub(crate) fn columns_first(
        &mut self,
        view: View,
        width: usize,
        height: usize,
        mut sink: impl FnMut(usize, &[u8]),
    ) -> Result<(), Failure> {
        let across = self.horizontal.get(view.width, width, Filter::Bilinear)?;
        let down = self.vertical.get(view.height, height, Filter::Bilinear)?;
        let (first, end) = view.columns();
        // Bytes of the line that come from the image; the others stay black.
        let black = (first as isize - view.left).clamp(0, view.width as isize) as usize;
        let inside = black * 3..(black + end - first) * 3;
        resize(&mut self.line, simd::source_bytes(across), 0)?;
        self.line.fill(0);
        resize(&mut self.row, simd::target_bytes(width), 0)?;
        self.taps.clear();
        self.taps.try_reserve(down.taps() / 2)?;
        let place = |row: isize| {
            let last = view.image_height as isize - 1;
            let weight = if (0..=last).contains(&row) { u32::MAX } else { 0 };
            (row.clamp(0, last) as usize * view.image_width * 3 + first * 3, weight)
        };
        for y in 0..height {
            self.taps.clear();
            let mut row = view.top + down.start(y) as isize;
            for &pair in down.pairs(y) {
                let (above, first_weight) = place(row);
                let (below, second_weight) = place(row + 1);
                let pair = pair & (first_weight & 0xffff | second_weight << 16);
                // Spans differ by a row or two, and what lies beyond the image weighs nothing.
                if pair != 0 {
                    self.taps.push(Tap { above, below, pair });
                }
                row += 2;
            }
            simd::convolve_columns(view.pixels, &self.taps, &mut self.line[inside.clone()]);
            if view.width == width {
                sink(y, &self.line[..width * 3]);
            } else {
                simd::convolve_row(&self.line, across, &mut self.row);
                sink(y, &self.row[..width * 3]);
            }
        }
        Ok(())
    }
}

/// The kernels of one axis by their sizes, so that thousands of crops share a few dozen of them.
#[derive(Default)]
struct KernelCache {
    slots: Vec<(Option<Filter>, Kernel)>,
}

impl KernelCache {
    /// Crops differ in their source size: consecutive sizes get different slots.
    const SLOTS: usize = 64;

    fn get(&mut self, source: usize, target: usize, filter: Filter) -> Result<&Kernel, Failure> {
        if self.slots.is_empty() {
            self.slots.try_reserve_exact(Self::SLOTS)?;
            self.slots.resize_with(Self::SLOTS, Default::default);
        }
        let (built, kernel) = &mut self.slots[(source + target / 24) % Self::SLOTS];
        if *built != Some(filter) || !kernel.fits(source, target) {
            *built = None;
            kernel.build(source, target, filter)?;
            *built = Some(filter);
        }
        Ok(kernel)
    }
}

#[cfg(test)]
#[path = "resize_tests.rs"]
mod tests;
