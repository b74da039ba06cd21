//! Stage 1: P-Net slides its window over every level and proposes boxes.

use super::boxes::{Bounds, Candidate};
use super::nms::{Cell, Overlap, Suppression};
use super::pyramid::{Level, Pyramid, WINDOW};
use super::tiles::{cells, tiles, Tile, STRIDE};
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
const MAX_CONTEXT_PIXELS: usize = 1 << 19;

/// A context serves a tile if it has at most this part of the tile's pixels to spare.
const SPARE_PART: usize = 8;

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
        let Kept { width, height, context } = self.contexts.get(tile.width, tile.height)?;
        let (pitch, shown) = (*width * 3, tile.width.min(level.width - tile.left) * 3);
        resize(&mut self.input, pitch * *height, 0.0)?;
        for (y, out) in self.input.chunks_exact_mut(pitch).enumerate().take(tile.height) {
            let start = ((tile.top + y).min(level.height - 1) * level.width + tile.left) * 3;
            normaliser.convert(&pixels[start..start + shown], &mut out[..shown]);
            if shown < tile.width * 3 {
                out.copy_within(shown - 3..shown, shown); // the level ends with an odd column: it is shown twice
            }
        }
        context.set_floats(&[1, *height as u32, *width as u32, 3], &self.input)?;
        context.compute()?;
        let (columns, rows) = (cells(*width), cells(*height));
        resize(&mut self.probabilities, columns * rows * 2, 0.0)?;
        context.get_floats(1, &mut self.probabilities)?;

        let before = self.cells.len();
        let (left, top) = (tile.left / STRIDE, tile.top / STRIDE);
        let cells = &mut self.cells;
        for (row, line) in self.probabilities.chunks_exact(columns * 2).enumerate().take(tile.rows()) {
            let line = &line[..tile.columns() * 2];
            cells.try_reserve(tile.columns())?; // because the scan itself cannot fail
            simd::second_above(line, threshold, |index| {
                let (x, y) = ((left + index) as u32, (top + row) as u32);
                cells.push(Cell { x, y, score: line[2 * index + 1], offsets: [0.0; 4] });
            });
        }
        if cells.len() > before {
            resize(&mut self.offsets, columns * rows * 4, 0.0)?;
            context.get_floats(0, &mut self.offsets)?;
            for cell in &mut cells[before..] {
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

/// Contexts by the shape of their input, the latest used last. Planning one for a new shape costs a host about as much
/// as running it: a stream of images of many sizes soon finds a context that is just a little larger than needed, and
/// what P-Net sees beyond a tile changes nothing in it.
struct Contexts {
    graph: Graph,
    kept: Vec<Kept>,
}

/// A context and the size of its input.
struct Kept {
    width: usize,
    height: usize,
    context: Context,
}

impl Contexts {
    /// A context for an input of this size or a little more.
    fn get(&mut self, width: usize, height: usize) -> Result<&mut Kept, Failure> {
        let fits = |kept: &Kept| {
            let spare = kept.width * kept.height - (width * height).min(kept.width * kept.height);
            kept.width >= width && kept.height >= height && spare * SPARE_PART <= width * height
        };
        let best = (0..self.kept.len())
            .filter(|&index| fits(&self.kept[index]))
            .min_by_key(|&index| self.kept[index].width * self.kept[index].height);
        let entry = match best {
            Some(index) => self.kept.remove(index),
            None => {
                let context = match self.make_room(width * height) {
                    Some(context) => context,
                    None => self.graph.context()?,
                };
                Kept { width, height, context }
            }
        };
        push(&mut self.kept, entry)?;
        let last = self.kept.len() - 1;
        Ok(&mut self.kept[last])
    }

    /// Drops the contexts that were not used for longest, if there are too many, and returns one of them: to give it
    /// another shape is cheaper than to make a new one.
    fn make_room(&mut self, pixels: usize) -> Option<Context> {
        let mut total: usize = self.kept.iter().map(|kept| kept.width * kept.height).sum::<usize>() + pixels;
        let mut spare = 0;
        while spare < self.kept.len() && (self.kept.len() - spare >= MAX_CONTEXTS || total > MAX_CONTEXT_PIXELS) {
            total -= self.kept[spare].width * self.kept[spare].height;
            spare += 1;
        }
        self.kept.drain(..spare).last().map(|kept| kept.context)
    }
}
