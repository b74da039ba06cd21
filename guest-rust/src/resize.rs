//! Antialiased resizing of RGB images in two passes, with bytes in between as in Pillow.
//!
//! Nothing as large as the image is ever stored: every finished row goes to the caller at once.

use crate::failure::{resize, Failure};
use crate::kernel::{Filter, Kernel};
use crate::simd;

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

    /// Resizes as many rows as fill `target`, from `first` of the view on, which lies inside its image. `lines` is a
    /// buffer.
    fn convolve_rows(
        &self,
        first: usize,
        kernel: &Kernel,
        lines: &mut Vec<u8>,
        target: &mut [u8],
    ) -> Result<(), Failure> {
        if self.width == kernel.target() {
            for (target, y) in target.chunks_exact_mut(self.width * 3).zip(first..) {
                target.copy_from_slice(self.row(self.top as usize + y));
            }
            return Ok(());
        }
        let (pitch, count) = (self.image_width * 3, target.len() / (kernel.target() * 3));
        let pixels = &self.pixels[(self.top as usize + first) * pitch + self.left as usize * 3..];
        let bytes = (count - 1) * pitch + simd::source_bytes(kernel);
        if pixels.len() >= bytes {
            simd::convolve_rows(pixels, pitch, kernel, target);
        } else {
            resize(lines, bytes, 0)?; // the last rows, with bytes to spare
            lines[..pixels.len()].copy_from_slice(pixels);
            simd::convolve_rows(lines, pitch, kernel, target);
        }
        Ok(())
    }

    /// Makes row `y` of those that `kernel` makes, as far as the columns lie inside the image. `lines` is a buffer.
    fn convolve_columns(&self, kernel: &Kernel, y: usize, lines: &mut Vec<u8>, row: &mut [u8]) -> Result<(), Failure> {
        let mut pairs = kernel.pairs(y);
        while let [rest @ .., 0] = pairs {
            pairs = rest; // spans differ by a row or two
        }
        let first = self.top + kernel.start(y) as isize;
        if first >= 0 && first as usize + 2 * pairs.len() <= self.image_height {
            let pitch = self.image_width * 3;
            let from = first as usize * pitch + self.columns().0 * 3;
            simd::convolve_columns(&self.pixels[from..], pitch, pairs, row);
        } else if !row.is_empty() {
            resize(lines, 2 * pairs.len() * row.len(), 0)?;
            for (line, y) in lines.chunks_exact_mut(row.len()).zip(first..) {
                if (0..self.image_height as isize).contains(&y) {
                    line.copy_from_slice(self.row(y as usize));
                } else {
                    line.fill(0);
                }
            }
            simd::convolve_columns(lines, row.len(), pairs, row);
        }
        Ok(())
    }
}

/// Bytes of the rows that `columns_first` makes before it turns to the other axis: they stay in the processor's nearest
/// cache, and all of a crop are among them.
const BLOCK: usize = 24 << 10;

/// Rows of a photo that are resized at a time: more would not all find a place in a cache when their distance is a power of
/// two.
const LINES: usize = 4;

/// Resizes images one after the other and keeps its buffers.
#[derive(Default)]
pub(crate) struct Resizer {
    horizontal: KernelCache,
    vertical: KernelCache,
    rows: Vec<u8>,
    line: Vec<u8>,
    row: Vec<u8>,
}

impl Resizer {
    /// Resizes a view that lies inside its image to `width` x `height` and hands each finished row, `width * 3` bytes,
    /// to `sink(y, row)`. Rows first, then columns, as Pillow does up to version 12 (later ones choose the cheaper).
    ///
    /// The passes are interleaved: not many more horizontally resized rows are kept than one output row needs.
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
        let (needed, pitch) = (down.taps(), width * 3);
        let room = 2 * needed + LINES;
        resize(&mut self.rows, room.checked_mul(pitch).ok_or_else(Failure::out_of_memory)?, 0)?;
        resize(&mut self.row, pitch, 0)?;
        // Rows of the view that were resized: the first that is kept, and the one behind the last.
        let (mut first, mut ready) = (0, 0);
        for y in 0..height {
            let start = down.start(y);
            while ready < view.height.min(start + needed) {
                let count = LINES.min(view.height - ready);
                if ready + count > first + room {
                    self.rows.copy_within((start - first) * pitch..(ready - first) * pitch, 0);
                    first = start;
                }
                let target = &mut self.rows[(ready - first) * pitch..][..count * pitch];
                view.convolve_rows(ready, across, &mut self.line, target)?;
                ready += count;
            }
            simd::convolve_columns(&self.rows[(start - first) * pitch..], pitch, down.pairs(y), &mut self.row);
            sink(y, &self.row);
        }
        Ok(())
    }

    /// The same for a view that may reach beyond its image, columns first, with a triangle filter: fills `target`, of
    /// `width * height * 3` bytes. It needs less than half the time when an image shrinks, and rounds in another place.
    pub(crate) fn columns_first(
        &mut self,
        view: View,
        width: usize,
        height: usize,
        target: &mut [u8],
    ) -> Result<(), Failure> {
        let across = self.horizontal.get(view.width, width, Filter::Bilinear)?;
        let down = self.vertical.get(view.height, height, Filter::Bilinear)?;
        let pitch = simd::source_bytes(across);
        let block = (BLOCK / pitch).max(LINES).min(height);
        resize(&mut self.rows, block * pitch, 0)?;
        let (first, end) = view.columns();
        // Bytes of a row that come from the image; the others stay black.
        let black = (first as isize - view.left).clamp(0, view.width as isize) as usize;
        let inside = black * 3..(black + end - first) * 3;
        if inside.len() < view.width * 3 {
            self.rows.fill(0);
        }
        for (number, target) in target.chunks_mut(block * width * 3).enumerate() {
            for (y, row) in (number * block..height).zip(self.rows.chunks_exact_mut(pitch)) {
                view.convolve_columns(down, y, &mut self.line, &mut row[inside.clone()])?;
            }
            if view.width == width {
                for (row, target) in self.rows.chunks_exact(pitch).zip(target.chunks_exact_mut(width * 3)) {
                    target.copy_from_slice(&row[..width * 3]);
                }
            } else {
                simd::convolve_rows(&self.rows, pitch, across, target);
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
