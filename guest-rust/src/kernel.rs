//! Weights of an antialiased, separable resize along one axis, with the geometry of Pillow's `Image.resize`.
//!
//! The filter's support is scaled by the reduction, so that every source pixel counts when an image shrinks. Weights
//! are 16-bit fixed point, with as many fraction bits as the largest weight allows, and sum to exactly 1.

use crate::failure::{resize, Failure};

/// A resampling filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
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
pub struct Kernel {
    source: usize,
    target: usize,
    taps: usize,
    shift: u32,
    starts: Vec<u32>,
    weights: Vec<i16>,
    exact: Vec<f64>,
}

impl Kernel {
    /// Computes the weights; both sizes are at least 1.
    pub fn build(&mut self, source: usize, target: usize, filter: Filter) -> Result<(), Failure> {
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
        resize(&mut self.starts, target, 0)?;
        let count = target.checked_mul(self.taps).ok_or_else(Failure::out_of_memory)?;
        resize(&mut self.exact, count, 0.0)?;
        resize(&mut self.weights, count, 0)?;

        let mut largest = 0.0f64;
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
                largest = largest.max(weight.abs());
            }
        }
        // 22 bits keep the sum of 255 * weight, with the overshoot of a cubic, inside 32 bits.
        self.shift = 22;
        while self.shift > 1 && largest * f64::from(1 << self.shift) > 32_000.0 {
            self.shift -= 1;
        }
        self.quantise();
        self.source = source;
        self.target = target;
        Ok(())
    }

    /// Rounds the weights so that each output's sum stays exactly 1: a flat area keeps its colour.
    fn quantise(&mut self) {
        let one = f64::from(1 << self.shift);
        let rows = self.exact.chunks_exact(self.taps).zip(self.weights.chunks_exact_mut(self.taps));
        for (exact, weights) in rows {
            let mut rest = 1 << self.shift;
            let mut heaviest = 0;
            for (tap, weight) in exact.iter().enumerate() {
                weights[tap] = (weight * one).round() as i16;
                rest -= i32::from(weights[tap]);
                if weights[tap] > weights[heaviest] {
                    heaviest = tap;
                }
            }
            weights[heaviest] += rest as i16;
        }
    }

    /// Whether this kernel was built for these sizes.
    pub fn fits(&self, source: usize, target: usize) -> bool {
        self.source == source && self.target == target
    }

    /// How many samples each output reads: even, perhaps one more than the source has.
    pub fn taps(&self) -> usize {
        self.taps
    }

    /// Fraction bits of the weights.
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// The first sample that an output reads.
    pub fn start(&self, index: usize) -> usize {
        self.starts[index] as usize
    }

    /// First sample and weights of every output in turn.
    pub fn spans(&self) -> impl Iterator<Item = (usize, &[i16])> + '_ {
        self.starts.iter().map(|&start| start as usize).zip(self.weights.chunks_exact(self.taps))
    }

    /// The weights of one output.
    pub fn weights(&self, index: usize) -> &[i16] {
        &self.weights[index * self.taps..][..self.taps]
    }
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
        let one = f64::from(1 << kernel.shift());
        kernel.weights(index).iter().map(|&weight| f64::from(weight) / one).collect()
    }

    fn close(left: &[f64], right: &[f64]) -> bool {
        left.len() == right.len() && left.iter().zip(right).all(|(a, b)| (a - b).abs() < 1e-4)
    }

    #[test]
    fn equal_sizes_copy() {
        let kernel = kernel(5, 5, Filter::Bicubic);
        for (index, (start, weights)) in kernel.spans().enumerate() {
            for (offset, &weight) in weights.iter().enumerate() {
                let expected = if start + offset == index { 1 << kernel.shift() } else { 0 };
                assert_eq!(i32::from(weight), expected);
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
                for (start, weights) in kernel.spans() {
                    let sum: i32 = weights.iter().map(|&weight| i32::from(weight)).sum();
                    assert_eq!(sum, 1 << kernel.shift());
                    assert!(start + weights.len() <= source.max(kernel.taps()));
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
