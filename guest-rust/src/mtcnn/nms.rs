//! Non-maximum suppression: of boxes that overlap too much, only the one with the best score stays.

use std::cmp::Ordering;

use super::boxes::{Bounds, Candidate};
use crate::failure::{resize, Failure};

/// What an intersection is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlap {
    /// The area that either box covers.
    Union,
    /// The area of the smaller box.
    Minimum,
}

/// Something at a place in the image, more or less likely.
pub trait Scored {
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

/// Best score first; equal scores keep a fixed order.
pub fn by_score<T: Scored>(a: &T, b: &T) -> Ordering {
    let place = |item: &T| (item.bounds().y1, item.bounds().x1, item.bounds().x2);
    b.score()
        .partial_cmp(&a.score())
        .unwrap_or(Ordering::Equal)
        .then_with(|| place(a).partial_cmp(&place(b)).unwrap_or(Ordering::Equal))
}

/// Leaves the candidates that no better one overlaps by more than `threshold`, best first.
pub fn suppress<T: Scored + Copy>(candidates: &mut Vec<T>, overlap: Overlap, threshold: f32) {
    candidates.sort_unstable_by(by_score::<T>);
    let mut kept = 0;
    for index in 0..candidates.len() {
        let candidate = candidates[index];
        let area = candidate.bounds().area();
        let covered = candidates[..kept].iter().any(|better| {
            // The quick test comes first: most boxes lie apart.
            let shared = candidate.bounds().intersection(better.bounds());
            shared > 0.0 && {
                let other = better.bounds().area();
                let whole = match overlap {
                    Overlap::Union => area + other - shared,
                    Overlap::Minimum => area.min(other),
                };
                shared > threshold * whole
            }
        });
        if !covered {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

/// One cell of P-Net's map whose window may hold a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cell {
    /// Column in the map.
    pub x: u32,
    /// Row in the map.
    pub y: u32,
    /// Probability of a face.
    pub score: f32,
    /// Offsets of the face's edges from the window's.
    pub offsets: [f32; 4],
}

/// Suppression above an overlap of 0.5 within one map, best first.
///
/// All windows of a map are equal squares of 6 cells: those `dx, dy` cells apart share (6 - dx)(6 - dy) of
/// 72 - (6 - dx)(6 - dy), which is more than half exactly for the eight neighbours. So the neighbours of a kept cell
/// are marked instead of comparing all pairs.
pub fn suppress_cells(
    cells: &mut Vec<Cell>,
    width: usize,
    height: usize,
    marks: &mut Vec<bool>,
) -> Result<(), Failure> {
    cells.sort_unstable_by(|a, b| {
        b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal).then_with(|| (a.y, a.x).cmp(&(b.y, b.x)))
    });
    marks.clear();
    resize(marks, width * height, false)?;
    cells.retain(|cell| {
        let (x, y) = (cell.x as usize, cell.y as usize);
        let free = !marks[y * width + x];
        if free {
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                marks[row * width..][x.saturating_sub(1)..(x + 2).min(width)].fill(true);
            }
        }
        free
    });
    Ok(())
}

#[cfg(test)]
#[path = "nms_tests.rs"]
mod tests;
