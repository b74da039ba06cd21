//! Stages 2 and 3: R-Net and O-Net look at crops, in batches of fixed sizes.

use super::boxes::Candidate;
use super::crops::Source;
use crate::failure::{resize, Failure};
use crate::nn::{Context, Graph};
use crate::profile::{begin, Stage};
use crate::resize::Resizer;
use crate::tensor::Encoder;
use crate::tensor_type::TensorType;

/// Sizes of the batches, largest first. Each has a context of its own, because a host plans a context anew when its
/// shape changes; the last batch is filled up with what it held before.
const BATCHES: usize = 3;

/// A network that takes square crops.
pub(crate) struct CropNet {
    graph: Graph,
    side: usize,
    batches: [usize; BATCHES],
    contexts: [Option<Context>; BATCHES],
    /// Numbers per crop of each output but the last, which has two: the probabilities of no face and of a face.
    widths: &'static [usize],
    /// The pixels of one crop.
    pixels: Vec<u8>,
    input: Vec<u8>,
    outputs: [Vec<f32>; 2],
    scores: Vec<f32>,
}

impl CropNet {
    /// The host's model `name`, which takes crops of `side` x `side` and gives, for each output before
    /// the scores, so many numbers.
    pub(crate) fn load(
        name: &'static str,
        side: usize,
        batches: [usize; BATCHES],
        widths: &'static [usize],
    ) -> Result<CropNet, Failure> {
        Ok(CropNet {
            graph: Graph::load(name)?,
            side,
            batches,
            contexts: [None, None, None],
            widths,
            pixels: Vec::new(),
            input: Vec::new(),
            outputs: [Vec::new(), Vec::new()],
            scores: Vec::new(),
        })
    }

    /// Shows every candidate's box to the network. Calls `likely` with those whose score is above `threshold`: the
    /// candidate, whose bounds are now those of the crop and whose score is the network's, and its part of each other
    /// output.
    pub(crate) fn look(
        &mut self,
        candidates: &mut [Candidate],
        source: &Source,
        threshold: f32,
        encoder: &Encoder,
        resizer: &mut Resizer,
        mut likely: impl FnMut(&Candidate, [&[f32]; 2]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let crop = self.side * self.side * 3 * encoder.bytes();
        begin(Stage::Crop);
        resize(&mut self.pixels, self.side * self.side * 3, 0)?;
        let mut rest = candidates;
        while !rest.is_empty() {
            let choice = choose(&self.batches, rest.len());
            let batch = self.batches[choice];
            let (now, later) = rest.split_at_mut(batch.min(rest.len()));
            rest = later;
            resize(&mut self.input, batch * crop, 0)?;
            for (candidate, out) in now.iter_mut().zip(self.input.chunks_exact_mut(crop)) {
                if encoder.keeps_bytes() {
                    candidate.bounds = source.cut(&candidate.bounds, self.side, resizer, out)?;
                } else {
                    candidate.bounds = source.cut(&candidate.bounds, self.side, resizer, &mut self.pixels)?;
                    encoder.convert(&self.pixels, out);
                }
            }
            self.run(choice, encoder.tensor_type())?;
            for (candidate, scores) in now.iter_mut().zip(self.scores.chunks_exact(2)) {
                candidate.score = scores[1];
            }
            // Most batches of a real photo hold no face: their other outputs stay where they are.
            if !now.iter().any(|candidate| candidate.score > threshold) {
                continue;
            }
            self.fetch(choice)?;
            for (index, candidate) in now.iter().enumerate().filter(|(_, candidate)| candidate.score > threshold) {
                let part = |output: usize| {
                    let width = self.widths.get(output).copied().unwrap_or(0);
                    &self.outputs[output][index * width..][..width]
                };
                likely(candidate, [part(0), part(1)])?;
            }
        }
        Ok(())
    }

    /// Runs a batch and fetches its scores, which are the last output.
    fn run(&mut self, choice: usize, kind: TensorType) -> Result<(), Failure> {
        let context = match &mut self.contexts[choice] {
            Some(context) => context,
            empty => empty.insert(self.graph.context()?),
        };
        let (batch, side) = (self.batches[choice], self.side as u32);
        context.set_input(&[batch as u32, side, side, 3], kind, &self.input)?;
        context.compute()?;
        resize(&mut self.scores, batch * 2, 0.0)?;
        context.get_floats(self.widths.len() as u32, &mut self.scores)
    }

    /// Fetches the other outputs of the batch that was run last.
    fn fetch(&mut self, choice: usize) -> Result<(), Failure> {
        if let Some(context) = &mut self.contexts[choice] {
            for (output, &width) in self.widths.iter().enumerate() {
                resize(&mut self.outputs[output], self.batches[choice] * width, 0.0)?;
                context.get_floats(output as u32, &mut self.outputs[output])?;
            }
        }
        Ok(())
    }
}

/// The batch for `left` crops: the largest that is filled by three quarters at least, else the smallest.
fn choose(batches: &[usize; BATCHES], left: usize) -> usize {
    batches.iter().position(|batch| left * 4 >= batch * 3).unwrap_or(BATCHES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(mut left: usize) -> Vec<usize> {
        let batches = [128, 32, 8];
        let mut sizes = Vec::new();
        while left > 0 {
            let batch = batches[choose(&batches, left)];
            sizes.push(batch);
            left = left.saturating_sub(batch);
        }
        sizes
    }

    #[test]
    fn batches_are_well_filled() {
        assert_eq!(sizes(264), [128, 128, 8]);
        assert_eq!(sizes(100), [128]);
        assert_eq!(sizes(60), [32, 32]);
        assert_eq!(sizes(50), [32, 8, 8, 8]);
        assert_eq!(sizes(1), [8]);
        assert_eq!(sizes(0), []);
    }
}
