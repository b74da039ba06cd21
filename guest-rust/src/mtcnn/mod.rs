//! Face detection by multi-task cascaded convolutional networks: Zhang, Zhang, Li, Qiao, "Joint Face Detection and
//! Alignment using Multi-task Cascaded Convolutional Networks", 2016, arXiv:1604.02878.

pub(crate) mod atlas;
pub(crate) mod boxes;
pub(crate) mod cascade;
pub(crate) mod crops;
pub(crate) mod nms;
pub(crate) mod proposals;
pub(crate) mod pyramid;
pub(crate) mod refinement;

pub(crate) use cascade::{Detector, Face};
