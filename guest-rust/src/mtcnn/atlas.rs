//! The atlas: every level of the pyramid, cut into pieces and laid out side by side on one long picture of constant
//! width, which P-Net sees frame by frame.
//!
//! P-Net has no padding: the answer of a cell depends on the 12 pixels from `STRIDE` times its place on, and on nothing
//! else. Pieces that lie at even pixels and overlap by 10 therefore give the very cells that the whole level gives, and
//! the cells between pieces are left out. So a few frame sizes serve images of all sizes: a host plans each size once,
//! which costs it as much as to run it, and its work space does not grow with the image.

use std::cmp::Reverse;
use std::ops::Range;

use super::pyramid::{Level, WINDOW};
use crate::failure::{push, resize, Failure};

/// Pixels from one cell of P-Net's map to the next.
pub(crate) const STRIDE: usize = 2;

/// Columns of the atlas.
pub(crate) const WIDTH: usize = 224;

/// Rows of a frame, largest first.
pub(crate) const HEIGHTS: [usize; 4] = [256, 128, 64, 32];

/// Rows of an atlas from which on the largest frames are used. Each is run a little faster than two of half its height,
/// but a host that plans for them once needs twice the time and memory.
const LONG: usize = 8192;

/// Rows of a frame that cost as much as to run one at all.
const COST: usize = 8;

/// Longest side of a piece from top to bottom: a narrow level comes to lie beside itself.
const MAX_HEIGHT: usize = 1024;

/// What a window reaches beyond its stride.
const OVERLAP: usize = WINDOW - STRIDE;

/// Cells that P-Net gives for an even number of pixels: convolutions of 3, 3 and 3 around a pooling of 2.
pub(crate) fn cells(side: usize) -> usize {
    (side - OVERLAP) / STRIDE
}

/// A part of a level on the atlas. All numbers but the level's are even pixels; a piece at the end of a level of odd
/// size is a pixel larger than what is left of the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Place of the level in the pyramid.
    pub(crate) level: usize,
    /// First column of the level.
    pub(crate) left: usize,
    /// First row of the level.
    pub(crate) top: usize,
    /// Columns.
    pub(crate) width: usize,
    /// Rows.
    pub(crate) height: usize,
    /// First column on the atlas.
    pub(crate) x: usize,
    /// First row on the atlas.
    pub(crate) y: usize,
}

impl Piece {
    /// The rows of the piece's own map that a frame shows.
    pub(crate) fn shown_rows(&self, frame: Frame) -> Range<usize> {
        let (first, end) = (frame.y / STRIDE, frame.y / STRIDE + cells(frame.height()));
        let own = self.y / STRIDE;
        let rows = cells(self.height);
        first.saturating_sub(own).min(rows)..end.saturating_sub(own).min(rows)
    }
}

/// What P-Net sees at a time: rows of the atlas, perhaps more than it has. Frames overlap as pieces do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// First row on the atlas.
    pub(crate) y: usize,
    /// Place in `HEIGHTS`.
    pub(crate) size: usize,
}

impl Frame {
    /// Rows.
    pub(crate) fn height(&self) -> usize {
        HEIGHTS[self.size]
    }
}

/// The pieces of one pyramid.
#[derive(Default)]
pub(crate) struct Atlas {
    pieces: Vec<Piece>,
    /// The first free row in each pair of columns.
    free: Vec<usize>,
    height: usize,
}

impl Atlas {
    /// Lays out the pieces of all levels, each of at least 12 x 12 pixels.
    pub(crate) fn lay_out(&mut self, levels: &[Level]) -> Result<(), Failure> {
        self.pieces.clear();
        for (level, size) in levels.iter().enumerate() {
            for (left, width) in cut(size.width, WIDTH) {
                for (top, height) in cut(size.height, MAX_HEIGHT) {
                    push(&mut self.pieces, Piece { level, left, top, width, height, x: 0, y: 0 })?;
                }
            }
        }
        self.free.clear();
        resize(&mut self.free, WIDTH / STRIDE, 0)?;
        // Neither order is always the better one.
        let wide_first: fn(&Piece) -> _ = |piece| (piece.width, piece.height);
        let large_first: fn(&Piece) -> _ = |piece| (piece.width * piece.height, piece.width);
        self.arrange(large_first);
        let height = self.height;
        self.arrange(wide_first);
        if self.height > height {
            self.arrange(large_first);
        }
        Ok(())
    }

    /// Finds places for the pieces in descending order of `key`, each as far up as it goes and where it covers least.
    #[inline(never)]
    fn arrange(&mut self, key: fn(&Piece) -> (usize, usize)) {
        self.pieces.sort_unstable_by_key(|piece| (Reverse(key(piece)), piece.level, piece.left, piece.top));
        self.free.fill(0);
        for piece in &mut self.pieces {
            let columns = piece.width / STRIDE;
            let place = |(x, free): (usize, &[usize])| {
                let y = free.iter().copied().max().unwrap_or(0);
                (y, y * columns - free.iter().sum::<usize>(), x)
            };
            let (y, _, x) = self.free.windows(columns).enumerate().map(place).min().unwrap_or((0, 0, 0));
            self.free[x..x + columns].fill(y + piece.height);
            (piece.x, piece.y) = (x * STRIDE, y);
        }
        self.height = self.free.iter().copied().max().unwrap_or(0);
    }

    /// The pieces of which a frame shows at least a row.
    pub(crate) fn pieces(&self, frame: Frame) -> impl Iterator<Item = &Piece> {
        let (first, end) = (frame.y, frame.y + frame.height());
        self.pieces.iter().filter(move |piece| piece.y < end && piece.y + piece.height > first)
    }

    /// Frames from top to bottom that show every cell once.
    pub(crate) fn frames(&self) -> impl Iterator<Item = Frame> {
        let (height, mut y) = (self.height, 0);
        let largest = usize::from(height < LONG);
        std::iter::from_fn(move || {
            let size = choose(height.checked_sub(y).filter(|&rest| rest > OVERLAP)?, largest);
            let frame = Frame { y, size };
            y += frame.height() - OVERLAP;
            Some(frame)
        })
    }
}

/// The frame to begin the last `rest` rows with: the largest, whose place is given, while they are more, then whichever
/// shows them at the least cost alone or with one other.
fn choose(rest: usize, largest: usize) -> usize {
    let cost = |&size: &usize| {
        let rows = HEIGHTS[size] + COST;
        let others = HEIGHTS[largest..].iter().filter(|&other| HEIGHTS[size] + other - OVERLAP >= rest).min();
        if HEIGHTS[size] >= rest {
            rows
        } else {
            others.map_or(usize::MAX, |other| rows + other + COST)
        }
    };
    if rest > HEIGHTS[largest] {
        return largest;
    }
    (largest..HEIGHTS.len()).min_by_key(cost).unwrap_or(largest)
}

/// Parts of at most `most` pixels, start and length, that together show every cell of a side once.
fn cut(side: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let side = side + side % STRIDE;
    (0..side - OVERLAP).step_by(most - OVERLAP).map(move |start| (start, most.min(side - start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mtcnn::pyramid::sized;

    #[test]
    fn maps_are_as_large_as_p_net_makes_them() {
        // 12 -> 10 -> 5 -> 3 -> 1, 14 -> 12 -> 6 -> 4 -> 2, 100 -> 98 -> 49 -> 47 -> 45
        assert_eq!([12, 14, 100].map(cells), [1, 2, 45]);
    }

    #[test]
    fn cuts_by_hand() {
        assert_eq!(cut(13, 224).collect::<Vec<_>>(), [(0, 14)]);
        assert_eq!(cut(224, 224).collect::<Vec<_>>(), [(0, 224)]);
        assert_eq!(cut(225, 224).collect::<Vec<_>>(), [(0, 224), (214, 12)]);
        assert_eq!(cut(500, 224).collect::<Vec<_>>(), [(0, 224), (214, 224), (428, 72)]);
    }

    #[test]
    fn small_levels_lie_beside_each_other() {
        let mut atlas = Atlas::default();
        atlas.lay_out(&[sized(120, 120), sized(85, 85), sized(17, 19), sized(30, 30)]).unwrap();
        let places: Vec<_> = atlas.pieces.iter().map(|piece| (piece.width, piece.x, piece.y)).collect();
        assert_eq!(places, [(120, 0, 0), (86, 120, 0), (30, 120, 86), (18, 206, 0)]);
        assert_eq!(atlas.frames().collect::<Vec<_>>(), [Frame { y: 0, size: 1 }]);
        atlas.lay_out(&[]).unwrap();
        assert_eq!(atlas.frames().count(), 0);
    }

    #[test]
    fn frames_fit_the_rest() {
        let heights = |largest: usize| move |rest: usize| HEIGHTS[choose(rest, largest)];
        assert_eq!(
            [12, 32, 33, 64, 80, 128, 129, 250, 256, 257, 9999].map(heights(0)),
            [32, 32, 64, 64, 64, 128, 128, 256, 256, 256, 256]
        );
        assert_eq!([12, 33, 80, 128, 129, 250, 9999].map(heights(1)), [32, 64, 64, 128, 128, 128, 128]);
    }

    #[test]
    fn only_a_long_atlas_has_the_largest_frames() {
        let mut atlas = Atlas::default();
        atlas.lay_out(&[sized(WIDTH, LONG - 1000)]).unwrap();
        assert!(atlas.frames().all(|frame| frame.size > 0));
        atlas.lay_out(&[sized(WIDTH, LONG + 1000)]).unwrap();
        assert!(atlas.frames().take(10).all(|frame| frame.size == 0));
    }

    #[test]
    fn every_cell_is_shown_once_and_no_pieces_overlap() {
        for sizes in [
            vec![(12, 12)],
            vec![(257, 12), (182, 13)],
            vec![(12, 5000)],
            vec![(576, 397), (408, 281), (290, 199), (205, 141), (146, 100), (103, 71), (73, 50), (52, 36), (37, 25)],
            vec![(1015, 1016), (719, 720), (510, 511)],
        ] {
            let levels: Vec<_> = sizes.iter().map(|&(width, height)| sized(width, height)).collect();
            let mut atlas = Atlas::default();
            atlas.lay_out(&levels).unwrap();
            let mut taken = vec![false; WIDTH * atlas.height];
            for piece in &atlas.pieces {
                assert!(piece.x + piece.width <= WIDTH && piece.y % STRIDE == 0 && piece.x % STRIDE == 0);
                for y in piece.y..piece.y + piece.height {
                    for pixel in &mut taken[y * WIDTH + piece.x..][..piece.width] {
                        assert!(!std::mem::replace(pixel, true));
                    }
                }
            }
            let mut seen: Vec<_> = sizes.iter().map(|&(w, h)| vec![0; cells(w + w % 2) * cells(h + h % 2)]).collect();
            for frame in atlas.frames() {
                for piece in atlas.pieces(frame) {
                    let columns = cells(sizes[piece.level].0 + sizes[piece.level].0 % 2);
                    for row in piece.shown_rows(frame) {
                        let start = (piece.top / STRIDE + row) * columns + piece.left / STRIDE;
                        seen[piece.level][start..start + cells(piece.width)].iter_mut().for_each(|count| *count += 1);
                    }
                }
            }
            assert!(seen.iter().flatten().all(|&count| count == 1), "{sizes:?}");
        }
    }
}
