//! Stage 1: P-Net slides its window over every level and proposes boxes.

use super::boxes::{Bounds, Candidate};
use super::nms::{Cell, Overlap, Suppression};
use super::pyramid::{Level, Pyramid, WINDOW};
use super::tiles::{tiles, Tile, STRIDE};
use crate::failure::{push, resize, Failure};
use crate::nn::{Context, Graph};
use crate::simd;
use crate::tensor::Normaliser;

/// Overlaps above which the weaker box goes: within a level (see `Suppression::cells`) and across levels.
const ACROSS_LEVELS: f32 = 0.7;

/// Real photos give hundreds of proposals; a threshold of 0 would give millions.
const MAX_PROPOSALS: usize = 1 << 14;

/// Contexts that are kept, and the input pixels of all of them together (each takes some 100 bytes of host memory).
const MAX_CONTEXTS: usize = 24;
const MAX_CONTEXT_PIXELS: usize = 1 << 20;

/// P-Net with its contexts and buffers.
pub struct ProposalNet {
    contexts: Contexts,
    input: Vec<f32>,
    probabilities: Vec<f32>,
    offsets: Vec<f32>,
    cells: Vec<Cell>,
    proposals: Vec<Candidate>,
    kept: Vec<Candidate>,
}

impl ProposalNet {
    /// Loads the host's P-Net.
    pub fn load() -> Result<ProposalNet, Failure> {
        Ok(ProposalNet {
            contexts: Contexts { graph: Graph::load("pnet")?, kept: Vec::new() },
            input: Vec::new(),
            probabilities: Vec::new(),
            offsets: Vec::new(),
            cells: Vec::new(),
            proposals: Vec::new(),
            kept: Vec::new(),
        })
    }

    /// Boxes, in pixels of an image of `size` (width, height), whose score is above `threshold`; their offsets are
    /// applied.
    pub fn propose(
        &mut self,
        pyramid: &Pyramid,
        size: (usize, usize),
        threshold: f32,
        normaliser: &Normaliser,
        suppression: &mut Suppression,
    ) -> Result<&mut Vec<Candidate>, Failure> {
        self.proposals.clear();
        for level in pyramid.levels() {
            self.cells.clear();
            for tile in tiles(level.width, level.height) {
                self.run(pyramid.pixels(level), level, &tile, threshold, normaliser)?;
            }
            let map = (level.width / STRIDE, level.height / STRIDE);
            let (across, down) = (size.0 as f32 / level.width as f32, size.1 as f32 / level.height as f32);
            let proposals = &mut self.proposals;
            suppression.cells(&self.cells, map, |cell| {
                let (x, y) = ((cell.x as usize * STRIDE) as f32, (cell.y as usize * STRIDE) as f32);
                let window = WINDOW as f32;
                let bounds =
                    Bounds { x1: x * across, y1: y * down, x2: (x + window) * across, y2: (y + window) * down };
                push(proposals, Candidate { bounds, score: cell.score, offsets: cell.offsets })
            })?;
        }
        if self.proposals.len() > MAX_PROPOSALS {
            suppression.best(&self.proposals, MAX_PROPOSALS, &mut self.kept)?;
            std::mem::swap(&mut self.proposals, &mut self.kept);
        }
        if similar_levels(pyramid.levels()) {
            suppression.boxes(&self.proposals, Overlap::Union, ACROSS_LEVELS, &mut self.kept)?;
            std::mem::swap(&mut self.proposals, &mut self.kept);
        }
        for proposal in &mut self.proposals {
            proposal.bounds = proposal.bounds.calibrated(&proposal.offsets);
        }
        Ok(&mut self.proposals)
    }

    /// Runs P-Net on one tile of a level and collects its cells above `threshold`.
    fn run(
        &mut self,
        pixels: &[u8],
        level: &Level,
        tile: &Tile,
        threshold: f32,
        normaliser: &Normaliser,
    ) -> Result<(), Failure> {
        let pitch = tile.width * 3;
        resize(&mut self.input, pitch * tile.height, 0.0)?;
        for (y, out) in self.input.chunks_exact_mut(pitch).enumerate() {
            let start = ((tile.top + y) * level.width + tile.left) * 3;
            normaliser.convert(&pixels[start..start + pitch], out);
        }
        let context = self.contexts.get(tile.width, tile.height)?;
        context.set_floats(&[1, tile.height as u32, tile.width as u32, 3], &self.input)?;
        context.compute()?;
        let (columns, rows) = (tile.columns(), tile.rows());
        resize(&mut self.probabilities, columns * rows * 2, 0.0)?;
        context.get_floats(1, &mut self.probabilities)?;

        let before = self.cells.len();
        let (left, top) = (tile.left / STRIDE, tile.top / STRIDE);
        let cells = &mut self.cells;
        // One reservation for all, because the scan itself cannot fail.
        let mut count = 0;
        simd::second_above(&self.probabilities, threshold, |_| count += 1);
        cells.try_reserve(count)?;
        let probabilities = &self.probabilities;
        simd::second_above(probabilities, threshold, |index| {
            let (x, y) = ((left + index % columns) as u32, (top + index / columns) as u32);
            cells.push(Cell { x, y, score: probabilities[2 * index + 1], offsets: [0.0; 4] });
        });
        if count > 0 {
            resize(&mut self.offsets, columns * rows * 4, 0.0)?;
            context.get_floats(0, &mut self.offsets)?;
            for cell in &mut self.cells[before..] {
                let index = (cell.y as usize - top) * columns + cell.x as usize - left;
                cell.offsets.copy_from_slice(&self.offsets[4 * index..][..4]);
            }
        }
        Ok(())
    }
}

/// Whether boxes of two levels can overlap by more than `ACROSS_LEVELS`: never more than the ratio of their areas.
fn similar_levels(levels: &[Level]) -> bool {
    let area = |level: &Level| (level.width * level.height) as f32;
    levels.windows(2).any(|pair| area(&pair[1]) > area(&pair[0]) * ACROSS_LEVELS)
}

/// Contexts by the shape of their input, the latest used last: a host plans a context anew when its shape changes.
struct Contexts {
    graph: Graph,
    kept: Vec<(usize, usize, Context)>,
}

impl Contexts {
    fn get(&mut self, width: usize, height: usize) -> Result<&mut Context, Failure> {
        let found = self.kept.iter().position(|(w, h, _)| (*w, *h) == (width, height));
        let entry = match found {
            Some(index) => self.kept.remove(index),
            None => {
                self.make_room(width * height);
                (width, height, self.graph.context()?)
            }
        };
        push(&mut self.kept, entry)?;
        let last = self.kept.len() - 1;
        Ok(&mut self.kept[last].2)
    }

    fn make_room(&mut self, pixels: usize) {
        let mut total: usize = self.kept.iter().map(|(w, h, _)| w * h).sum::<usize>() + pixels;
        let mut spare = 0;
        while spare < self.kept.len() && (self.kept.len() - spare >= MAX_CONTEXTS || total > MAX_CONTEXT_PIXELS) {
            total -= self.kept[spare].0 * self.kept[spare].1;
            spare += 1;
        }
        self.kept.drain(..spare);
    }
}
