//! Crops of the image, resized to what R-Net and O-Net take.

use super::boxes::Bounds;
use super::pyramid::Pyramid;
use crate::failure::Failure;
use crate::resize::{Resizer, View};

/// A level of the pyramid serves instead of the image where a crop is still this many times larger on it than the
/// network's input: large crops then cost no more than small ones.
const SPARE: f32 = 2.0;

/// The image and its pyramid, to cut from.
pub(crate) struct Source<'a> {
    /// The whole image.
    pub(crate) image: View<'a>,
    /// Its smaller sizes.
    pub(crate) pyramid: &'a Pyramid,
}

impl Source<'_> {
    /// Fills `pixels`, `side` x `side` of them, with the square `bounds` of the image; what lies beyond the image is
    /// black. Returns the box that was really cut, because crops end at whole pixels.
    pub(crate) fn cut(
        &self,
        bounds: &Bounds,
        side: usize,
        resizer: &mut Resizer,
        pixels: &mut [u8],
    ) -> Result<Bounds, Failure> {
        let view = self.view(bounds, side);
        let across = self.image.width() as f32 / view.width() as f32;
        let down = self.image.height() as f32 / view.height() as f32;
        let left = (bounds.x1 / across).round();
        let top = (bounds.y1 / down).round();
        let width = (bounds.width() / across).round().max(1.0);
        let height = (bounds.height() / down).round().max(1.0);
        let crop = view.crop(left as isize, top as isize, width as usize, height as usize);
        resizer.columns_first(crop, side, side, pixels)?;
        Ok(Bounds { x1: left * across, y1: top * down, x2: (left + width) * across, y2: (top + height) * down })
    }

    /// The smallest picture that shows the box with pixels to spare.
    fn view(&self, bounds: &Bounds, side: usize) -> View<'_> {
        let least = SPARE * side as f32 * self.image.width() as f32 / bounds.width();
        let fits = |level: &&super::pyramid::Level| level.width as f32 >= least && level.width < self.image.width();
        match self.pyramid.levels().iter().rev().find(fits) {
            Some(level) => self.pyramid.view(level),
            None => self.image,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(size: usize, bounds: Bounds, side: usize) -> (Vec<u8>, Bounds) {
        // The red channel grows to the right, the green one downwards.
        let pixels: Vec<u8> = (0..size * size).flat_map(|at| [(at % size) as u8, (at / size) as u8, 255]).collect();
        let image = View::whole(&pixels, size, size);
        let mut resizer = Resizer::default();
        let mut pyramid = Pyramid::default();
        pyramid.build(image, 12.0, 0.5, &mut resizer).unwrap();
        let mut out = vec![0; side * side * 3];
        let source = Source { image, pyramid: &pyramid };
        let cut = source.cut(&bounds, side, &mut resizer, &mut out).unwrap();
        (out, cut)
    }

    #[test]
    fn a_crop_ends_at_whole_pixels() {
        let (out, bounds) = cut(40, Bounds { x1: 9.6, y1: 20.4, x2: 13.6, y2: 24.4 }, 4);
        assert_eq!(bounds, Bounds { x1: 10.0, y1: 20.0, x2: 14.0, y2: 24.0 });
        assert_eq!(out[..6], [10, 20, 255, 11, 20, 255]);
        assert_eq!(out[45..], [13, 23, 255]);
    }

    #[test]
    fn beyond_the_border_is_black() {
        let (out, bounds) = cut(40, Bounds { x1: -2.0, y1: 38.0, x2: 2.0, y2: 42.0 }, 4);
        assert_eq!(bounds.x1, -2.0);
        assert_eq!(out[..12], [0, 0, 0, 0, 0, 0, 0, 38, 255, 1, 38, 255]);
        assert_eq!(out[24..], [0; 24]);
    }

    #[test]
    fn a_large_crop_from_a_level_shows_the_same() {
        let (out, bounds) = cut(200, Bounds { x1: 20.0, y1: 40.0, x2: 180.0, y2: 200.0 }, 8);
        assert_eq!(bounds, Bounds { x1: 24.0, y1: 40.0, x2: 184.0, y2: 200.0 });
        for (x, pixel) in out[8 * 3 * 4..][..24].chunks_exact(3).enumerate().take(7).skip(1) {
            let expected = bounds.x1 + (x as f32 + 0.5) * 20.0 - 0.5;
            assert!((f32::from(pixel[0]) - expected).abs() < 2.0, "{x}: {} is not {expected}", pixel[0]);
        }
    }
}
