//! Tiles of a level: P-Net sees a large level in parts, so that neither its input nor the host's work space grows with
//! the image.
//!
//! P-Net has no padding: the answer of a cell depends on the 12 pixels from `STRIDE` times its place on, and on nothing
//! else. Tiles that start at even pixels and overlap by 10 therefore give the very cells that the whole level gives.

use super::pyramid::WINDOW;

/// Pixels from one cell of P-Net's map to the next.
pub const STRIDE: usize = 2;

/// Longest side of a tile.
const MAX_SIDE: usize = 256;

/// What a window reaches beyond its stride.
const OVERLAP: usize = WINDOW - STRIDE;

/// A part of a level, in pixels. All its numbers are even: that of a level of odd size, where it is small enough to be
/// one tile, is a pixel larger than the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// First column: even.
    pub left: usize,
    /// First row: even.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Tile {
    /// Columns of P-Net's map.
    pub fn columns(&self) -> usize {
        cells(self.width)
    }

    /// Rows of P-Net's map.
    pub fn rows(&self) -> usize {
        cells(self.height)
    }
}

/// Cells that P-Net gives for a side of this many pixels: convolutions of 3, 3 and 3 without padding around a pooling
/// of 2 that rounds up.
pub fn cells(side: usize) -> usize {
    (side - OVERLAP + 1) / STRIDE
}

/// Tiles of equal size that cover a level of at least 12 x 12 pixels, row by row.
pub fn tiles(width: usize, height: usize) -> impl Iterator<Item = Tile> {
    let (across, down) = (Cut::of(width), Cut::of(height));
    (0..across.count * down.count).map(move |index| Tile {
        left: across.start(index % across.count),
        top: down.start(index / across.count),
        width: across.side,
        height: down.side,
    })
}

/// One axis cut into `count` parts of `side` pixels.
#[derive(Clone, Copy)]
struct Cut {
    count: usize,
    side: usize,
    last: usize,
}

impl Cut {
    fn of(side: usize) -> Cut {
        if side <= MAX_SIDE {
            return Cut { count: 1, side: side + side % STRIDE, last: 0 };
        }
        // The odd last pixel of a large level is no loss, and without it every part can start at an even one.
        let cells = (side - OVERLAP) / STRIDE;
        let most = (MAX_SIDE - OVERLAP) / STRIDE;
        let count = (cells + most - 1) / most;
        let each = (cells + count - 1) / count;
        Cut { count, side: each * STRIDE + OVERLAP, last: (cells - each) * STRIDE }
    }

    /// The last part reaches back over the one before, so that it ends with the level.
    fn start(&self, index: usize) -> usize {
        (index * (self.side - OVERLAP)).min(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_as_large_as_p_net_makes_them() {
        // 12 -> 10 -> 5 -> 3 -> 1, 13 -> 11 -> 6 -> 4 -> 2, 100 -> 98 -> 49 -> 47 -> 45
        assert_eq!([12, 13, 14, 100].map(cells), [1, 2, 2, 45]);
    }

    #[test]
    fn a_small_level_is_one_tile() {
        let all: Vec<Tile> = tiles(256, 13).collect();
        assert_eq!(all, [Tile { left: 0, top: 0, width: 256, height: 14 }]);
    }

    #[test]
    fn tiles_cover_every_cell_and_stay_inside() {
        for (width, height) in [(257, 12), (514, 700), (1015, 1016), (2400, 1801), (100_000, 12)] {
            let (columns, rows) = ((width - OVERLAP) / STRIDE, (height - OVERLAP) / STRIDE);
            let mut seen = vec![false; columns * rows];
            for tile in tiles(width, height) {
                assert!(tile.width <= MAX_SIDE && tile.height <= MAX_SIDE);
                assert!(tile.left + tile.width <= width && tile.top + tile.height <= height);
                assert_eq!((tile.left % STRIDE, tile.top % STRIDE), (0, 0));
                assert_eq!((tile.width % STRIDE, tile.height % STRIDE), (0, 0));
                for row in 0..tile.rows().min(rows - tile.top / STRIDE) {
                    let start = (tile.top / STRIDE + row) * columns + tile.left / STRIDE;
                    seen[start..start + tile.columns().min(columns - tile.left / STRIDE)].fill(true);
                }
            }
            assert!(seen.iter().all(|&cell| cell), "{width} x {height}");
        }
    }
}
