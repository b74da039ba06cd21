//! Weights of an antialiased, separable resize along one axis, with the geometry of Pillow's `Image.resize`.
//!
//! The filter's support is scaled by the reduction, so that every source pixel counts when an image shrinks. Weights
//! are 16-bit fixed point and sum to exactly 1.

use std::ops::Range;

use crate::failure::{resize, Failure};

/// Fraction bits of the weights: no weight of either filter reaches 2.
pub(crate) const SHIFT: u32 = 14;

/// A resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Triangle of support 1.
    Bilinear,
    /// Keys' cubic with a = -0.5, support 2.
    Bicubic,
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        const A: f64 = -0.5;
        let x = x.abs();
        match self {
            Filter::Bilinear if x < 1.0 => 1.0 - x,
            Filter::Bicubic if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
            Filter::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
            _ => 0.0,
        }
    }
}

/// The weights that turn `source` samples into `target` samples.
#[derive(Default)]
pub(crate) struct Kernel {
    source: usize,
    target: usize,
    taps: usize,
    starts: Vec<u32>,
    /// Weights two by two, the first in the lower half.
    pairs: Vec<u32>,
    exact: Vec<f64>,
}

impl Kernel {
    /// Computes the weights; both sizes are at least 1.
    pub(crate) fn build(&mut self, source: usize, target: usize, filter: Filter) -> Result<(), Failure> {
        self.source = 0; // not usable until it is complete
        let scale = source as f64 / target as f64;
        let stretch = scale.max(1.0);
        let support = filter.support() * stretch;
        let span = |index: usize| {
            let centre = (index as f64 + 0.5) * scale;
            let first = ((centre - support + 0.5) as usize).min(source - 1);
            let end = ((centre + support + 0.5) as usize).clamp(first + 1, source);
            (centre, first, end)
        };
        // Even, because the convolutions take two samples at a time.
        let widest = (0..target).map(|index| span(index).2 - span(index).1).max().unwrap_or(1);
        self.taps = (widest + 1) & !1;
        let count = target.checked_mul(self.taps).ok_or_else(Failure::out_of_memory)?;
        resize(&mut self.starts, target, 0)?;
        resize(&mut self.exact, count, 0.0)?;
        resize(&mut self.pairs, count / 2, 0)?;

        for (index, weights) in self.exact.chunks_exact_mut(self.taps).enumerate() {
            let (centre, first, end) = span(index);
            // All spans get the same length, inside the source where that is long enough.
            let start = first.min(source.saturating_sub(self.taps));
            self.starts[index] = start as u32;
            weights.fill(0.0);
            let mut sum = 0.0;
            for sample in first..end {
                let weight = filter.weight((sample as f64 + 0.5 - centre) / stretch);
                weights[sample - start] = weight;
                sum += weight;
            }
            for weight in weights.iter_mut() {
                *weight /= sum;
            }
        }
        self.quantise();
        self.source = source;
        self.target = target;
        Ok(())
    }

    /// Rounds the weights so that each output's sum stays exactly 1: a flat area keeps its colour.
    fn quantise(&mut self) {
        let one = f64::from(1 << SHIFT);
        let outputs = self.exact.chunks_exact(self.taps).zip(self.pairs.chunks_exact_mut(self.taps / 2));
        for (exact, pairs) in outputs {
            // Each weight is the difference of two rounded running sums: errors cancel out between neighbours.
            let (mut running, mut before) = (0.0, 0);
            let mut fixed = |weight: f64| {
                running += weight * one;
                let now = (running + 0.5).floor() as i32;
                let difference = now - before;
                before = now;
                u32::from(difference as u16)
            };
            for (weights, pair) in exact.chunks_exact(2).zip(pairs) {
                *pair = fixed(weights[0]) | fixed(weights[1]) << 16;
            }
        }
    }

    /// Whether this kernel was built for these sizes.
    pub(crate) fn fits(&self, source: usize, target: usize) -> bool {
        self.source == source && self.target == target
    }

    /// How many samples each output reads: even, perhaps one more than the source has.
    pub(crate) fn taps(&self) -> usize {
        self.taps
    }

    /// Samples that are read.
    pub(crate) fn source(&self) -> usize {
        self.source
    }

    /// Samples that are made.
    pub(crate) fn target(&self) -> usize {
        self.target
    }

    /// The first sample that an output reads; `start + taps` is at most the source or, where that is less, the taps.
    pub(crate) fn start(&self, index: usize) -> usize {
        self.starts[index] as usize
    }

    /// First samples and pairs of weights of these outputs.
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]
    pub(crate) fn outputs(&self, range: Range<usize>) -> (&[u32], &[u32]) {
        let pairs = self.taps / 2;
        (&self.starts[range.start..range.end], &self.pairs[range.start * pairs..range.end * pairs])
    }

    /// The weights of one output, two by two: the first of a pair in the lower half.
    pub(crate) fn pairs(&self, index: usize) -> &[u32] {
        &self.pairs[index * (self.taps / 2)..][..self.taps / 2]
    }
}

/// The two weights of a pair.
pub(crate) fn unpair(pair: u32) -> [i32; 2] {
    [i32::from(pair as u16 as i16), i32::from((pair >> 16) as i16)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(source: usize, target: usize, filter: Filter) -> Kernel {
        let mut kernel = Kernel::default();
        kernel.build(source, target, filter).unwrap();
        kernel
    }

    fn real(kernel: &Kernel, index: usize) -> Vec<f64> {
        let one = f64::from(1 << SHIFT);
        kernel.pairs(index).iter().flat_map(|&pair| unpair(pair)).map(|weight| f64::from(weight) / one).collect()
    }

    fn close(left: &[f64], right: &[f64]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-4)
    }

    #[test]
    fn equal_sizes_copy() {
        let kernel = kernel(5, 5, Filter::Bicubic);
        for index in 0..5 {
            let (start, pairs) = (kernel.start(index), kernel.pairs(index));
            for (offset, weight) in pairs.iter().flat_map(|&pair| unpair(pair)).enumerate() {
                let expected = if start + offset == index { 1 << SHIFT } else { 0 };
                assert_eq!(weight, expected);
            }
        }
    }

    #[test]
    fn halving_with_a_triangle_weighs_1_3_3_1() {
        let kernel = kernel(8, 4, Filter::Bilinear);
        assert_eq!((kernel.taps(), kernel.start(1)), (4, 1));
        assert!(close(&real(&kernel, 1), &[0.125, 0.375, 0.375, 0.125]));
        // At the edge the missing sample's weight is shared out: 3/7, 3/7, 1/7.
        assert!(close(&real(&kernel, 0), &[3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0, 0.0]));
        assert!(close(&real(&kernel, 3), &[0.0, 1.0 / 7.0, 3.0 / 7.0, 3.0 / 7.0]));
    }

    #[test]
    fn doubling_with_a_triangle_weighs_1_3() {
        let kernel = kernel(4, 8, Filter::Bilinear);
        assert_eq!(kernel.start(3), 1);
        assert!(close(&real(&kernel, 3), &[0.75, 0.25]));
        assert!(close(&real(&kernel, 0), &[1.0, 0.0]));
    }

    #[test]
    fn cubic_weights_are_keys() {
        assert_eq!(Filter::Bicubic.weight(0.0), 1.0);
        assert_eq!(Filter::Bicubic.weight(0.5), 0.5625);
        assert_eq!(Filter::Bicubic.weight(-1.5), -0.0625);
        assert_eq!(Filter::Bicubic.weight(2.0), 0.0);
    }

    #[test]
    fn weights_sum_to_one_and_spans_stay_inside() {
        for (source, target) in [(1, 1), (1, 9), (2, 3), (3, 1), (7, 2), (100, 37), (37, 100), (1000, 1), (4000, 224)] {
            for filter in [Filter::Bilinear, Filter::Bicubic] {
                let kernel = kernel(source, target, filter);
                for index in 0..target {
                    let (start, pairs) = (kernel.start(index), kernel.pairs(index));
                    let sum: i32 = pairs.iter().flat_map(|&pair| unpair(pair)).sum();
                    assert_eq!(sum, 1 << SHIFT);
                    assert!(start + 2 * pairs.len() <= source.max(kernel.taps()));
                }
            }
        }
    }

    #[test]
    fn a_kernel_can_be_built_anew() {
        let mut kernel = kernel(100, 3, Filter::Bicubic);
        kernel.build(8, 4, Filter::Bilinear).unwrap();
        assert!(kernel.fits(8, 4) && !kernel.fits(100, 3));
        assert!(close(&real(&kernel, 1), &[0.125, 0.375, 0.375, 0.125]));
    }
}
