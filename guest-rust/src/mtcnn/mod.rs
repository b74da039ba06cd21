//! Face detection.

use crate::failure::Failure;
use crate::request::DetectRequest;

/// One face, as the ABI lays it out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// `x1, y1, x2, y2`.
    pub bounds: [f32; 4],
    /// 0 to 1.
    pub score: f32,
    /// Five points.
    pub landmarks: [[f32; 2]; 5],
}

/// The networks.
pub struct Detector {}

impl Detector {
    /// Loads the networks.
    pub fn load() -> Result<Detector, Failure> {
        Err(Failure::model("detect faces", "is not built yet"))
    }

    /// Finds faces.
    pub fn detect(&mut self, _pixels: &[u8], _request: &DetectRequest) -> Result<&[Face], Failure> {
        Ok(&[])
    }
}
