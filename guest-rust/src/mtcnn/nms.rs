//! Non-maximum suppression: of boxes that overlap too much, only the one with the best score stays.

use super::boxes::{Bounds, Candidate};
use crate::failure::{push, resize, Failure};
use crate::ranking::Ranking;

/// What an intersection is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// The area that either box covers.
    Union,
    /// The area of the smaller box.
    Minimum,
}

/// Something at a place in the image, more or less likely.
pub(crate) trait Scored {
    /// Where it is.
    fn bounds(&self) -> &Bounds;
    /// Its probability.
    fn score(&self) -> f32;
}

impl Scored for Candidate {
    fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    fn score(&self) -> f32 {
        self.score
    }
}

/// Non-maximum suppression; keeps its buffers.
#[derive(Default)]
pub(crate) struct Suppression {
    ranking: Ranking,
    marks: Vec<bool>,
}

impl Suppression {
    /// Moves the items that no better one overlaps by more than `threshold` to `kept`, best first.
    pub(crate) fn boxes<T: Scored + Copy>(
        &mut self,
        items: &[T],
        overlap: Overlap,
        threshold: f32,
        kept: &mut Vec<T>,
    ) -> Result<(), Failure> {
        kept.clear();
        for place in self.ranking.best_first(items.iter().map(Scored::score))? {
            let item = items[place];
            if !kept.iter().any(|better| covers(better.bounds(), item.bounds(), overlap, threshold)) {
                push(kept, item)?;
            }
        }
        Ok(())
    }

    /// Copies the `count` best items to `kept`, best first.
    pub(crate) fn best<T: Scored + Copy>(
        &mut self,
        items: &[T],
        count: usize,
        kept: &mut Vec<T>,
    ) -> Result<(), Failure> {
        kept.clear();
        for place in self.ranking.best_first(items.iter().map(Scored::score))?.take(count) {
            push(kept, items[place])?;
        }
        Ok(())
    }

    /// Calls `keep` with the cells of one map of `width` x `height` that no better one overlaps by more than 0.5, best
    /// first.
    ///
    /// All windows of a map are equal squares of 6 cells: those `dx, dy` cells apart share (6 - dx)(6 - dy) of
    /// 72 - (6 - dx)(6 - dy), which is more than half exactly for the eight neighbours. So the neighbours of a kept
    /// cell are marked instead of comparing all pairs.
    pub(crate) fn cells(
        &mut self,
        cells: &[Cell],
        (width, height): (usize, usize),
        mut keep: impl FnMut(&Cell) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        self.marks.clear();
        resize(&mut self.marks, width * height, false)?;
        for place in self.ranking.best_first(cells.iter().map(|cell| cell.score))? {
            let cell = &cells[place];
            let (x, y) = (cell.x as usize, cell.y as usize);
            if !self.marks[y * width + x] {
                for row in y.saturating_sub(1)..(y + 2).min(height) {
                    self.marks[row * width..][x.saturating_sub(1)..(x + 2).min(width)].fill(true);
                }
                keep(cell)?;
            }
        }
        Ok(())
    }
}

/// Whether two boxes overlap by more than `threshold`.
fn covers(better: &Bounds, other: &Bounds, overlap: Overlap, threshold: f32) -> bool {
    // The quick test comes first: most boxes lie apart.
    let shared = better.intersection(other);
    shared > 0.0 && {
        let (first, second) = (better.area(), other.area());
        let whole = match overlap {
            Overlap::Union => first + second - shared,
            Overlap::Minimum => first.min(second),
        };
        shared > threshold * whole
    }
}

/// One cell of P-Net's map whose window may hold a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    /// Column in the map.
    pub(crate) x: u32,
    /// Row in the map.
    pub(crate) y: u32,
    /// Probability of a face.
    pub(crate) score: f32,
    /// Offsets of the face's edges from the window's.
    pub(crate) offsets: [f32; 4],
}

#[cfg(test)]
#[path = "nms_tests.rs"]
mod tests;
