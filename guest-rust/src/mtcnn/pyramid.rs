//! The image pyramid (section 2.1 of the paper): the image in ever smaller sizes, so that a window of 12 pixels meets
//! faces of every size.

use crate::failure::{push, resize, Failure};
use crate::resize::{Resizer, View};

/// Side of P-Net's window in pixels.
pub(crate) const WINDOW: usize = 12;

/// More levels than any sensible factor gives, and more pixels than memory should hold.
const MAX_LEVELS: usize = 256;
const MAX_PIXELS: usize = 1 << 26;

/// A level is made from one that is at least this many times larger, else from the image: the blur that the detour
/// adds is then too small to change what is found.
const DETOUR: f32 = 2.7;

/// One level: its size and where its pixels lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Width in pixels.
    pub(crate) width: usize,
    /// Height in pixels.
    pub(crate) height: usize,
    start: usize,
}

impl Level {
    fn bytes(&self) -> usize {
        self.width * self.height * 3
    }
}

/// The levels of one image; the buffers serve the next image too.
#[derive(Default)]
pub(crate) struct Pyramid {
    levels: Vec<Level>,
    pixels: Vec<u8>,
}

impl Pyramid {
    /// Builds the levels of `image` on which a face of `min_size` pixels, or one larger by a power of 1 / `factor`,
    /// is as large as the window. An image that is too small has none.
    pub(crate) fn build(
        &mut self,
        image: View,
        min_size: f32,
        factor: f32,
        resizer: &mut Resizer,
    ) -> Result<(), Failure> {
        let bytes = plan(&mut self.levels, (image.width(), image.height()), min_size, factor)?;
        resize(&mut self.pixels, bytes, 0)?;
        for (index, level) in self.levels.iter().enumerate() {
            let (before, rest) = self.pixels.split_at_mut(level.start);
            let detour = |other: &&Level| {
                other.width as f32 >= level.width as f32 * DETOUR && other.height as f32 >= level.height as f32 * DETOUR
            };
            let source = match self.levels[..index].iter().rev().find(detour) {
                Some(other) => View::whole(&before[other.start..][..other.bytes()], other.width, other.height),
                None => image,
            };
            resizer.columns_first(source, level.width, level.height, &mut rest[..level.bytes()])?;
        }
        Ok(())
    }

    /// The levels, largest first.
    pub(crate) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The pixels of a level.
    pub(crate) fn view(&self, level: &Level) -> View<'_> {
        View::whole(self.pixels(level), level.width, level.height)
    }

    /// The bytes of a level's pixels.
    pub(crate) fn pixels(&self, level: &Level) -> &[u8] {
        &self.pixels[level.start..][..level.bytes()]
    }
}

/// A level of this size, without pixels.
#[cfg(test)]
pub(crate) fn sized(width: usize, height: usize) -> Level {
    Level { width, height, start: 0 }
}

/// Lists the levels of an image of `size` (width, height), and counts their bytes.
fn plan(levels: &mut Vec<Level>, size: (usize, usize), min_size: f32, factor: f32) -> Result<usize, Failure> {
    levels.clear();
    let mut scale = WINDOW as f64 / f64::from(min_size);
    let mut start = 0;
    loop {
        // Sizes beyond all memory stop at the limit below; the cast saturates.
        let (width, height) = ((size.0 as f64 * scale).round() as usize, (size.1 as f64 * scale).round() as usize);
        if width.min(height) < WINDOW {
            return Ok(start);
        }
        let pixels = width.saturating_mul(height);
        if pixels > MAX_PIXELS || start / 3 + pixels > MAX_PIXELS {
            return Err(Failure::bad_request("min_size", "is too small for an image of this size"));
        }
        if levels.len() == MAX_LEVELS {
            return Err(Failure::bad_request("factor", "is too close to 1"));
        }
        let level = Level { width, height, start };
        let repeats = levels.last().map_or(false, |last| (last.width, last.height) == (width, height));
        if !repeats {
            push(levels, level)?;
            start += level.bytes();
        }
        scale *= f64::from(factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    fn sizes(width: usize, height: usize, min_size: f32, factor: f32) -> Result<Vec<(usize, usize)>, Failure> {
        let mut levels = Vec::new();
        plan(&mut levels, (width, height), min_size, factor)?;
        Ok(levels.iter().map(|level| (level.width, level.height)).collect())
    }

    #[test]
    fn levels_by_hand() {
        assert_eq!(sizes(100, 60, 20.0, 0.5).unwrap(), [(60, 36), (30, 18)]);
        assert_eq!(sizes(24, 48, 6.0, 0.5).unwrap(), [(48, 96), (24, 48), (12, 24)]);
        assert_eq!(sizes(20, 20, 20.0, 0.709).unwrap(), [(12, 12)]);
    }

    #[test]
    fn degenerate_images_have_no_levels() {
        for (width, height) in [(1, 1), (100_000, 1), (1, 9000), (19, 500)] {
            assert_eq!(sizes(width, height, 20.0, 0.709).unwrap(), []);
        }
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert_eq!(sizes(4000, 3000, 1e-30, 0.709).unwrap_err().status, Status::BadRequest);
        assert_eq!(sizes(4000, 3000, f32::from_bits(1), 0.709).unwrap_err().status, Status::BadRequest);
        assert_eq!(sizes(4000, 3000, 12.0, 0.999_999).unwrap_err().status, Status::BadRequest);
        assert_eq!(sizes(4000, 3000, 1e30, 0.5).unwrap(), []);
        assert!(sizes(4000, 3000, 20.0, 1e-30).unwrap().len() == 1);
    }

    #[test]
    fn every_level_shows_the_image() {
        // A ramp from left to right stays one, whichever way a level was made.
        let pixels: Vec<u8> = (0..200 * 100).flat_map(|at| [(at % 200) as u8; 3]).collect();
        let mut pyramid = Pyramid::default();
        pyramid.build(View::whole(&pixels, 200, 100), 12.0, 0.709, &mut Resizer::default()).unwrap();
        assert_eq!(pyramid.levels().len(), 7);
        for level in pyramid.levels() {
            let row = &pyramid.pixels(level)[(level.height / 2) * level.width * 3..][..level.width * 3];
            for (x, pixel) in row.chunks_exact(3).enumerate().skip(3).take(level.width - 6) {
                let expected = (x as f32 + 0.5) * 200.0 / level.width as f32 - 0.5;
                assert!((f32::from(pixel[1]) - expected).abs() < 1.5, "{level:?} {x}");
            }
        }
    }
}
