//! Resizing of RGB images: a horizontal pass into rows of bytes, then a vertical pass over them (Pillow's order).
//!
//! The passes are interleaved: only as many horizontally resized rows are kept as one output row needs, and every
//! finished row goes to the caller at once, so that nothing as large as the image is ever stored.

use crate::failure::{resize, Failure};
use crate::kernel::{Filter, Kernel};
use crate::simd;

/// A rectangle of an RGB image; what lies beyond the image is black.
#[derive(Clone, Copy)]
pub struct View<'a> {
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
    pub fn whole(pixels: &'a [u8], width: usize, height: usize) -> View<'a> {
        debug_assert!(width > 0 && height > 0 && pixels.len() == width * height * 3);
        View { pixels, image_width: width, image_height: height, left: 0, top: 0, width, height }
    }

    /// Another rectangle of the same image; neither side is 0.
    pub fn crop(&self, left: isize, top: isize, width: usize, height: usize) -> View<'a> {
        debug_assert!(width > 0 && height > 0);
        View { left, top, width, height, ..*self }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Bytes from the start of row `y` on, at least `bytes` of them; copied to `line` when they do not lie like that.
    fn row<'b>(&self, y: usize, bytes: usize, line: &'b mut Vec<u8>) -> Result<&'b [u8], Failure>
    where
        'a: 'b,
    {
        let pitch = self.image_width * 3;
        let row = self.top + y as isize;
        let inside = 0 <= row && row < self.image_height as isize;
        if inside && self.left >= 0 && self.left as usize + self.width <= self.image_width {
            let rest = &self.pixels[row as usize * pitch + self.left as usize * 3..];
            if rest.len() >= bytes {
                return Ok(rest);
            }
        }
        resize(line, bytes, 0)?;
        line.fill(0);
        let first = self.left.clamp(0, self.image_width as isize);
        let end = (self.left + self.width as isize).clamp(first, self.image_width as isize);
        if inside && end > first {
            let source = &self.pixels[row as usize * pitch..][first as usize * 3..end as usize * 3];
            line[(first - self.left) as usize * 3..][..source.len()].copy_from_slice(source);
        }
        Ok(line)
    }
}

/// Resizes images one after the other and keeps its buffers.
#[derive(Default)]
pub struct Resizer {
    horizontal: KernelCache,
    vertical: KernelCache,
    rows: Vec<u8>,
    row: Vec<u8>,
    line: Vec<u8>,
    offsets: Vec<u32>,
}

impl Resizer {
    /// Resizes `view` to `width` x `height` and hands each finished row, `width * 3` bytes, to `sink(y, row)`.
    pub fn run(
        &mut self,
        view: View,
        width: usize,
        height: usize,
        filter: Filter,
        mut sink: impl FnMut(usize, &mut [u8]),
    ) -> Result<(), Failure> {
        let across = self.horizontal.get(view.width, width, filter)?;
        let down = self.vertical.get(view.height, height, filter)?;
        let bytes = width * 3;
        let pitch = simd::padded(bytes);
        let kept = down.taps();
        resize(&mut self.rows, kept.checked_mul(pitch).ok_or_else(Failure::out_of_memory)?, 0)?;
        resize(&mut self.row, pitch, 0)?;
        resize(&mut self.offsets, kept, 0)?;
        let needed = simd::row_bytes(view.width.max(across.taps()));
        let mut ready = 0;
        for y in 0..height {
            let start = down.start(y);
            for source in ready.max(start)..(start + kept).min(view.height) {
                let target = &mut self.rows[source % kept * pitch..][..pitch];
                let pixels = view.row(source, needed, &mut self.line)?;
                if view.width == width {
                    target[..bytes].copy_from_slice(&pixels[..bytes]);
                } else {
                    simd::convolve_row(pixels, across, target);
                }
                ready = source + 1;
            }
            for (tap, offset) in self.offsets.iter_mut().enumerate() {
                *offset = (((start + tap).min(view.height - 1)) % kept * pitch) as u32;
            }
            simd::convolve_columns(&self.rows, &self.offsets, down.weights(y), down.shift(), &mut self.row);
            sink(y, &mut self.row[..bytes]);
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
