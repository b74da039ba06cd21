//! Classification: an image into the model's input tensor, the model's output into the best classes.

use crate::failure::{push, resize, Failure};
use crate::nn::{Context, Graph};
use crate::profile::{begin, Stage};
use crate::ranking::Ranking;
use crate::request::{ClassifyRequest, Crop, Scores};
use crate::resize::{Resizer, View};
use crate::tensor::{decode, Encoder, PlaneEncoder};

/// One class of the answer, as the ABI lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Class {
    /// Index in the model's output.
    pub(crate) index: u32,
    /// Score, 0 to 1.
    pub(crate) score: f32,
}

/// The model `classifier` and the buffers that pass between it and the images.
pub(crate) struct Classifier {
    context: Context,
    resizer: Resizer,
    input: Vec<u8>,
    output: Vec<u8>,
    classes: Vec<Class>,
    ranking: Ranking,
    best: Vec<Class>,
}

impl Classifier {
    /// Loads the host's classifier.
    pub(crate) fn load() -> Result<Classifier, Failure> {
        Ok(Classifier {
            context: Graph::load("classifier")?.context()?,
            resizer: Resizer::default(),
            input: Vec::new(),
            output: Vec::new(),
            classes: Vec::new(),
            ranking: Ranking::default(),
            best: Vec::new(),
        })
    }

    /// Classifies an image of `width * height * 3` bytes; tells too whether a softmax was applied.
    pub(crate) fn classify(&mut self, pixels: &[u8], request: &ClassifyRequest) -> Result<(&[Class], bool), Failure> {
        begin(Stage::Resize);
        self.fill_input(pixels, request)?;
        begin(Stage::Other);
        self.context.set_input(request.layout.dimensions(), request.input.tensor_type(), &self.input)?;
        self.context.compute()?;
        let values = if request.binary { 1 } else { request.classes };
        let bytes = values * request.output.bytes();
        resize(&mut self.output, bytes * request.layout.batch, 0)?;
        self.context.get_output(request.output_index, &mut self.output)?;

        self.classes.clear();
        self.classes.try_reserve(request.classes)?;
        let scores = decode(request.output, &self.output[..bytes]);
        self.classes.extend(scores.zip(0..).map(|(score, index)| Class { index, score }));
        let softmax = if request.binary {
            let (score, sigmoid) = to_probability(self.classes[0].score, request.scores)?;
            self.classes.clear();
            match request.classes {
                1 => self.classes.push(Class { index: 0, score }),
                _ => self.classes.extend([Class { index: 0, score: 1.0 - score }, Class { index: 1, score }]),
            }
            sigmoid
        } else {
            to_probabilities(&mut self.classes, request.scores)?
        };
        keep_best(&self.classes, request.top_k, request.min_score, &mut self.ranking, &mut self.best)?;
        Ok((&self.best, softmax))
    }

    fn fill_input(&mut self, pixels: &[u8], request: &ClassifyRequest) -> Result<(), Failure> {
        let whole = View::whole(pixels, request.pixels.width, request.pixels.height);
        let input = (request.input_width, request.input_height);
        let (view, inner) = match request.crop {
            Crop::Squash => (whole, Place { left: 0, top: 0, width: input.0, height: input.1 }),
            Crop::Centre => {
                let part = centre((whole.width(), whole.height()), input);
                let view = whole.crop(part.left as isize, part.top as isize, part.width, part.height);
                (view, Place { left: 0, top: 0, width: input.0, height: input.1 })
            }
            Crop::Pad(_) => (whole, centre(input, (whole.width(), whole.height()))),
        };
        if request.layout.planar || request.layout.grey {
            return self.fill_planes(view, inner, request);
        }
        let encoder = Encoder::new(request.input, request.normalisation, request.bgr);
        let pixel = 3 * encoder.bytes();
        let pitch = input.0 * pixel;
        resize(&mut self.input, pitch * input.1 * request.layout.batch, 0)?;
        let (tensor, others) = self.input.split_at_mut(pitch * input.1);
        others.fill(0);
        if let Crop::Pad(colour) = request.crop {
            for out in tensor.chunks_exact_mut(pixel) {
                encoder.convert(&colour, out);
            }
        }
        self.resizer.rows_first(view, inner.width, inner.height, request.filter, |y, row| {
            let start = (inner.top + y) * pitch + inner.left * pixel;
            encoder.convert(row, &mut tensor[start..start + inner.width * pixel]);
        })
    }

    /// Fills an input with a plane for each channel, or for the luminance alone.
    fn fill_planes(&mut self, view: View, inner: Place, request: &ClassifyRequest) -> Result<(), Failure> {
        let encoder = PlaneEncoder::new(request.input, request.normalisation, request.bgr);
        let (width, bytes) = (request.input_width, encoder.bytes());
        let (depth, plane) = (request.layout.depth(), width * request.input_height * bytes);
        resize(&mut self.input, plane * depth * request.layout.batch, 0)?;
        let fill = |pixels: &[u8], start: usize, tensor: &mut [u8]| {
            for channel in 0..depth {
                let begin = channel * plane + start;
                let out = &mut tensor[begin..begin + pixels.len() / 3 * bytes];
                match depth {
                    1 => encoder.luminance(pixels, out),
                    _ => encoder.channel(channel, pixels, out),
                }
            }
        };
        if let Crop::Pad(colour) = request.crop {
            for pixel in 0..width * request.input_height {
                fill(&colour, pixel * bytes, &mut self.input);
            }
        }
        self.input[plane * depth..].fill(0);
        let tensor = &mut self.input;
        self.resizer.rows_first(view, inner.width, inner.height, request.filter, |y, row| {
            fill(row, ((inner.top + y) * width + inner.left) * bytes, tensor);
        })
    }
}

/// A rectangle in whole pixels.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

/// The largest centred part of `outer` (width, height) that has the aspect ratio of `inner`, to the nearest pixel.
fn centre(outer: (usize, usize), inner: (usize, usize)) -> Place {
    let rounded = |length: usize, numerator: usize, denominator: usize| {
        let (numerator, denominator) = (numerator as u64, denominator as u64);
        ((length as u64 * numerator + denominator / 2) / denominator).max(1) as usize
    };
    let width = rounded(outer.1, inner.0, inner.1).min(outer.0);
    let height = rounded(outer.0, inner.1, inner.0).min(outer.1);
    Place { left: (outer.0 - width) / 2, top: (outer.1 - height) / 2, width, height }
}

/// Rounding may carry a probability a little beyond 1.
const SLACK: f32 = 1e-4;

/// Applies a softmax where the output needs one, and tells whether it did.
fn to_probabilities(classes: &mut [Class], scores: Scores) -> Result<bool, Failure> {
    let mut highest = f32::NEG_INFINITY;
    let mut probabilities = true;
    for class in classes.iter() {
        if class.score.is_nan() || class.score == f32::INFINITY {
            return Err(Failure::no_number("classifier"));
        }
        highest = highest.max(class.score);
        probabilities &= (-SLACK..=1.0 + SLACK).contains(&class.score);
    }
    if highest == f32::NEG_INFINITY {
        return Err(Failure::no_number("classifier"));
    }
    let softmax = match scores {
        Scores::Probabilities => false,
        Scores::Logits => true,
        Scores::Unknown => !probabilities,
    };
    if softmax {
        let mut sum = 0.0;
        for class in classes.iter_mut() {
            class.score = (class.score - highest).exp();
            sum += f64::from(class.score);
        }
        for class in classes {
            class.score = (f64::from(class.score) / sum) as f32;
        }
    }
    Ok(softmax)
}

/// The probability behind the only number of an output, and whether a sigmoid made it one.
fn to_probability(value: f32, scores: Scores) -> Result<(f32, bool), Failure> {
    if value.is_nan() {
        return Err(Failure::no_number("classifier"));
    }
    let sigmoid = match scores {
        Scores::Probabilities => false,
        Scores::Logits => true,
        Scores::Unknown => !(-SLACK..=1.0 + SLACK).contains(&value),
    };
    Ok((if sigmoid { 1.0 / (1.0 + (-value).exp()) } else { value }, sigmoid))
}

/// Copies the `top_k` best classes whose score is at least `min_score`: best first, equal scores by index.
fn keep_best(
    classes: &[Class],
    top_k: usize,
    min_score: f32,
    ranking: &mut Ranking,
    best: &mut Vec<Class>,
) -> Result<(), Failure> {
    best.clear();
    let places = ranking.best_first(classes.iter().map(|class| class.score))?;
    for class in places.map(|place| classes[place]).take(top_k).take_while(|class| class.score >= min_score) {
        push(best, class)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
