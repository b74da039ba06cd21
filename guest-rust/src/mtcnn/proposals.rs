//! Stage 1: P-Net slides its window over every level and proposes boxes.

use super::atlas::{cells, Atlas, Frame, Piece, HEIGHTS, STRIDE, WIDTH};
use super::boxes::{Bounds, Candidate};
use super::nms::{Cell, Overlap, Suppression};
use super::pyramid::{Level, Pyramid, WINDOW};
use crate::failure::{push, resize, Failure};
use crate::nn::{Context, Graph};
use crate::profile::{begin, Stage};
use crate::simd;
use crate::tensor::Encoder;

/// Overlaps above which the weaker box goes: within a level (see `Suppression::cells`) and across levels.
const ACROSS_LEVELS: f32 = 0.7;

/// Real photos give hundreds of proposals; a threshold of 0 would give millions.
const MAX_PROPOSALS: usize = 1 << 14;

/// P-Net with its contexts and buffers.
pub(crate) struct ProposalNet {
    graph: Graph,
    /// One for each height of a frame, made when it is needed.
    contexts: [Option<Context>; HEIGHTS.len()],
    atlas: Atlas,
    input: Vec<u8>,
    probabilities: Vec<f32>,
    offsets: Vec<f32>,
    /// The likely cells of each level.
    cells: Vec<Vec<Cell>>,
    proposals: Vec<Candidate>,
    kept: Vec<Candidate>,
}

impl ProposalNet {
    /// Loads the host's P-Net.
    pub(crate) fn load() -> Result<ProposalNet, Failure> {
        Ok(ProposalNet {
            graph: Graph::load("pnet")?,
            contexts: Default::default(),
            atlas: Atlas::default(),
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
    pub(crate) fn propose(
        &mut self,
        pyramid: &Pyramid,
        size: (usize, usize),
        threshold: f32,
        encoder: &Encoder,
        suppression: &mut Suppression,
    ) -> Result<&mut Vec<Candidate>, Failure> {
        self.proposals.clear();
        self.cells.iter_mut().for_each(Vec::clear);
        while self.cells.len() < pyramid.levels().len() {
            push(&mut self.cells, Vec::new())?;
        }
        begin(Stage::Fill);
        self.atlas.lay_out(pyramid.levels())?;
        for frame in self.atlas.frames() {
            self.run(pyramid, frame, threshold, encoder)?;
        }
        begin(Stage::Suppress);
        for (level, cells) in pyramid.levels().iter().zip(&self.cells) {
            let map = (level.width / STRIDE, level.height / STRIDE);
            let (across, down) = (size.0 as f32 / level.width as f32, size.1 as f32 / level.height as f32);
            let proposals = &mut self.proposals;
            suppression.cells(cells, map, |cell| {
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

    /// Runs P-Net on a frame and collects its cells above `threshold`.
    fn run(&mut self, pyramid: &Pyramid, frame: Frame, threshold: f32, encoder: &Encoder) -> Result<(), Failure> {
        // What lies between the pieces is left from frames before: no cell of a piece depends on it.
        let height = frame.height();
        begin(Stage::Fill);
        let bytes = WIDTH * height * 3 * encoder.bytes();
        if self.input.len() < bytes {
            resize(&mut self.input, bytes, 0)?; // never smaller: that would cost zeros for the next larger frame
        }
        let input = &mut self.input[..bytes];
        for piece in self.atlas.pieces(frame) {
            fill(input, frame, piece, pyramid, encoder);
        }
        let context = match &mut self.contexts[frame.size] {
            Some(context) => context,
            empty => empty.insert(self.graph.context()?),
        };
        context.set_input(&[1, height as u32, WIDTH as u32, 3], encoder.tensor_type(), input)?;
        context.compute()?;
        let (columns, rows) = (cells(WIDTH), cells(height));
        resize(&mut self.probabilities, columns * rows * 2, 0.0)?;
        context.get_floats(1, &mut self.probabilities)?;

        begin(Stage::Scan);
        let mut offsets_are_here = false;
        for piece in self.atlas.pieces(frame) {
            let found = &mut self.cells[piece.level];
            let before = found.len();
            // Where the map of the piece begins in that of the frame and in that of its level.
            let first = |row: usize| (piece.y / STRIDE + row - frame.y / STRIDE) * columns + piece.x / STRIDE;
            let (left, top) = (piece.left / STRIDE, piece.top / STRIDE);
            for row in piece.shown_rows(frame) {
                let line = &self.probabilities[first(row) * 2..][..cells(piece.width) * 2];
                found.try_reserve(cells(piece.width))?; // because the scan itself cannot fail
                simd::second_above(line, threshold, |index| {
                    let (x, y) = ((left + index) as u32, (top + row) as u32);
                    found.push(Cell { x, y, score: line[2 * index + 1], offsets: [0.0; 4] });
                });
            }
            if found.len() > before && !offsets_are_here {
                resize(&mut self.offsets, columns * rows * 4, 0.0)?;
                context.get_floats(0, &mut self.offsets)?;
                offsets_are_here = true;
            }
            for cell in &mut found[before..] {
                let index = first(cell.y as usize - top) + cell.x as usize - left;
                cell.offsets.copy_from_slice(&self.offsets[4 * index..][..4]);
            }
        }
        Ok(())
    }
}

/// Copies what a frame shows of a piece into `input`, as P-Net wants it.
fn fill(input: &mut [u8], frame: Frame, piece: &Piece, pyramid: &Pyramid, encoder: &Encoder) {
    let level = &pyramid.levels()[piece.level];
    let pixels = pyramid.pixels(level);
    let there = piece.width.min(level.width - piece.left);
    let pixel = 3 * encoder.bytes();
    let rows = piece.y.max(frame.y)..(piece.y + piece.height).min(frame.y + frame.height());
    for y in rows {
        let row = (piece.top + y - piece.y).min(level.height - 1);
        let source = &pixels[(row * level.width + piece.left) * 3..][..there * 3];
        let out = &mut input[((y - frame.y) * WIDTH + piece.x) * pixel..][..piece.width * pixel];
        encoder.convert(source, &mut out[..there * pixel]);
        if there < piece.width {
            out.copy_within((there - 1) * pixel..there * pixel, there * pixel); // an odd level ends with its last column twice
        }
    }
}

/// Whether boxes of two levels can overlap by more than `ACROSS_LEVELS`: never more than the ratio of their areas.
fn similar_levels(levels: &[Level]) -> bool {
    let area = |level: &Level| (level.width * level.height) as f32;
    levels.windows(2).any(|pair| area(&pair[1]) > area(&pair[0]) * ACROSS_LEVELS)
}
