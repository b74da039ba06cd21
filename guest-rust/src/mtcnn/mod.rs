//! Face detection by multi-task cascaded convolutional networks: Zhang, Zhang, Li, Qiao, "Joint Face Detection and
//! Alignment using Multi-task Cascaded Convolutional Networks", 2016, arXiv:1604.02878.

pub mod boxes;
pub mod cascade;
pub mod crops;
pub mod nms;
pub mod proposals;
pub mod pyramid;
pub mod refinement;
pub mod roll;

pub use cascade::{Detector, Face};
