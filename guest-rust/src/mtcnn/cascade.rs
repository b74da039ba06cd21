//! The cascade: proposals, refinement, landmarks (sections 2.1 and 2.2 of the paper).

use super::boxes::{Bounds, Candidate};
use super::crops::Source;
use super::nms::{Overlap, Scored, Suppression};
use super::proposals::ProposalNet;
use super::pyramid::Pyramid;
use super::refinement::CropNet;
use crate::failure::{push, Failure};
use crate::profile::{begin, Stage};
use crate::request::DetectRequest;
use crate::resize::{Resizer, View};
use crate::tensor::Encoder;

/// Overlaps above which the weaker box goes, after R-Net (of the union) and after O-Net (of the smaller box).
const AFTER_REFINEMENT: f32 = 0.7;
const AFTER_OUTPUT: f32 = 0.7;

/// One face, as the ABI lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face {
    /// Where it is.
    pub(crate) bounds: Bounds,
    /// O-Net's probability of a face.
    pub(crate) score: f32,
    /// Left eye, right eye, nose, left and right mouth corner (as seen in the image): `x, y` in pixels.
    pub(crate) landmarks: [[f32; 2]; 5],
}

impl Scored for Face {
    fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    fn score(&self) -> f32 {
        self.score
    }
}

/// The three networks, and the buffers that pass between them.
pub(crate) struct Detector {
    proposal: ProposalNet,
    refine: CropNet,
    output: CropNet,
    pyramid: Pyramid,
    resizer: Resizer,
    suppression: Suppression,
    likely: Vec<Candidate>,
    refined: Vec<Candidate>,
    found: Vec<Face>,
    faces: Vec<Face>,
}

impl Detector {
    /// Loads the host's networks.
    pub(crate) fn load() -> Result<Detector, Failure> {
        Ok(Detector {
            proposal: ProposalNet::load()?,
            refine: CropNet::load("rnet", 24, [64, 16, 4], &[4])?,
            output: CropNet::load("onet", 48, [16, 4, 1], &[4, 10])?,
            pyramid: Pyramid::default(),
            resizer: Resizer::default(),
            suppression: Suppression::default(),
            likely: Vec::new(),
            refined: Vec::new(),
            found: Vec::new(),
            faces: Vec::new(),
        })
    }

    /// Finds the faces of an image of `width * height * 3` bytes, best first.
    pub(crate) fn detect(&mut self, pixels: &[u8], request: &DetectRequest) -> Result<&[Face], Failure> {
        let size = (request.pixels.width, request.pixels.height);
        let image = View::whole(pixels, size.0, size.1);
        let encoder = Encoder::new(request.input, request.normalisation, request.bgr);
        let [first, second, third] = request.thresholds;

        begin(Stage::Resize);
        self.pyramid.build(image, request.min_size, request.factor, &mut self.resizer)?;
        let proposals = self.proposal.propose(&self.pyramid, size, first, &encoder, &mut self.suppression)?;
        make_square(proposals, size);
        let source = Source { image, pyramid: &self.pyramid };

        let likely = &mut self.likely;
        likely.clear();
        self.refine.look(proposals, &source, second, &encoder, &mut self.resizer, |candidate, [offsets, _]| {
            push(likely, Candidate { offsets: four(offsets), ..*candidate })
        })?;
        let refined = &mut self.refined;
        begin(Stage::Suppress);
        self.suppression.boxes(likely, Overlap::Union, AFTER_REFINEMENT, refined)?;
        for candidate in refined.iter_mut() {
            candidate.bounds = candidate.bounds.calibrated(&candidate.offsets);
        }
        make_square(refined, size);

        let found = &mut self.found;
        found.clear();
        self.output.look(refined, &source, third, &encoder, &mut self.resizer, |candidate, [offsets, points]| {
            let Candidate { bounds: crop, score, .. } = *candidate;
            let bounds = crop.calibrated(&four(offsets));
            let finite = score.is_finite() && points.iter().all(|point| point.is_finite());
            if finite && bounds.is_plausible(size.0 as f32, size.1 as f32) {
                push(found, Face { bounds, score, landmarks: on_image(points, &crop) })?;
            }
            Ok(())
        })?;
        begin(Stage::Suppress);
        self.suppression.boxes(found, Overlap::Minimum, AFTER_OUTPUT, &mut self.faces)?;
        begin(Stage::Other);
        self.faces.truncate(request.max_faces);
        Ok(&self.faces)
    }
}

/// Makes every box a square, as R-Net and O-Net want them, and drops those that no crop can be cut for.
fn make_square(candidates: &mut Vec<Candidate>, size: (usize, usize)) {
    candidates.retain_mut(|candidate| {
        candidate.bounds = candidate.bounds.squared();
        candidate.bounds.is_plausible(size.0 as f32, size.1 as f32)
    });
}

fn four(offsets: &[f32]) -> [f32; 4] {
    [offsets[0], offsets[1], offsets[2], offsets[3]]
}

/// Landmarks `x1..x5, y1..y5`, relative to the crop, in pixels of the image.
fn on_image(points: &[f32], crop: &Bounds) -> [[f32; 2]; 5] {
    let mut landmarks = [[0.0; 2]; 5];
    for (index, point) in landmarks.iter_mut().enumerate() {
        point[0] = crop.x1 + points[index] * crop.width();
        point[1] = crop.y1 + points[index + 5] * crop.height();
    }
    landmarks
}

#[cfg(test)]
#[path = "cascade_tests.rs"]
mod tests;
