//! Orders things by their scores. One sort of plain integers serves classes, cells, boxes and faces: a sort of its own
//! for each would make up a third of the module.

use crate::failure::Failure;

/// Best first; equal scores in the order in which they came.
#[derive(Default)]
pub(crate) struct Ranking {
    keys: Vec<u64>,
}

impl Ranking {
    /// The places of `scores`, best first. What is not a number may end up anywhere.
    pub(crate) fn best_first(&mut self, scores: impl ExactSizeIterator<Item = f32>) -> Result<Places<'_>, Failure> {
        self.keys.clear();
        self.keys.try_reserve(scores.len())?;
        self.keys.extend(
            scores.zip(0..).map(|(score, place): (f32, u32)| u64::from(descending(score)) << 32 | u64::from(place)),
        );
        self.keys.sort_unstable();
        Ok(Places { keys: self.keys.iter() })
    }
}

/// Places in the order of their scores.
pub(crate) struct Places<'a> {
    keys: std::slice::Iter<'a, u64>,
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.keys.next().map(|&key| key as u32 as usize)
    }
}

/// Bits that are the smaller, the greater the number is.
fn descending(score: f32) -> u32 {
    let bits = (score + 0.0).to_bits(); // no -0.0, which would come behind 0.0
    if bits >> 31 == 0 {
        !(bits | 1 << 31)
    } else {
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(scores: &[f32]) -> Vec<usize> {
        Ranking::default().best_first(scores.iter().copied()).unwrap().collect()
    }

    #[test]
    fn any_numbers_are_ranked() {
        assert_eq!(places(&[0.5, -2.0, 1e30, 0.25, f32::NEG_INFINITY, -1e-30, f32::INFINITY]), [6, 2, 0, 3, 5, 1, 4]);
        assert_eq!(places(&[]), []);
    }

    #[test]
    fn equal_scores_keep_their_order() {
        assert_eq!(places(&[0.5, 0.7, 0.5, -0.0, 0.7, 0.0]), [1, 4, 0, 2, 3, 5]);
    }
}
