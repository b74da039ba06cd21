//! Boxes: overlap, calibration by a network's offsets, squares.

/// A box in pixels of the image, from its top left corner; half open.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Left edge.
    pub(crate) x1: f32,
    /// Upper edge.
    pub(crate) y1: f32,
    /// Right edge.
    pub(crate) x2: f32,
    /// Lower edge.
    pub(crate) y2: f32,
}

/// A box that may hold a face.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Candidate {
    /// Where the network looked.
    pub(crate) bounds: Bounds,
    /// The network's probability of a face.
    pub(crate) score: f32,
    /// How far the face's edges lie from those of `bounds`, in its widths and heights.
    pub(crate) offsets: [f32; 4],
}

impl Bounds {
    /// Width in pixels.
    pub(crate) fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Height in pixels.
    pub(crate) fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Area in square pixels.
    pub(crate) fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// Area that both boxes cover.
    pub(crate) fn intersection(&self, other: &Bounds) -> f32 {
        let width = least(self.x2, other.x2) - greatest(self.x1, other.x1);
        let height = least(self.y2, other.y2) - greatest(self.y1, other.y1);
        greatest(width, 0.0) * greatest(height, 0.0)
    }

    /// The box moved by `offsets` of its edges, in widths and heights (bounding-box regression).
    pub(crate) fn calibrated(&self, offsets: &[f32; 4]) -> Bounds {
        let (width, height) = (self.width(), self.height());
        Bounds {
            x1: self.x1 + offsets[0] * width,
            y1: self.y1 + offsets[1] * height,
            x2: self.x2 + offsets[2] * width,
            y2: self.y2 + offsets[3] * height,
        }
    }

    /// The square of the longer side around the same centre.
    pub(crate) fn squared(&self) -> Bounds {
        let half = greatest(self.width(), self.height()) / 2.0;
        let (x, y) = ((self.x1 + self.x2) / 2.0, (self.y1 + self.y2) / 2.0);
        Bounds { x1: x - half, y1: y - half, x2: x + half, y2: y + half }
    }

    /// Whether a crop of this box makes sense in an image of this size: it is at least a pixel large, touches the
    /// image and does not dwarf it. Not a number is never plausible.
    pub(crate) fn is_plausible(&self, width: f32, height: f32) -> bool {
        let limit = 4.0 * greatest(width, height);
        let sides = [self.width(), self.height()];
        sides.iter().all(|side| (1.0..=limit).contains(side))
            && self.x1 < width
            && self.y1 < height
            && self.x2 > 0.0
            && self.y2 > 0.0
    }
}

// f32::min and max treat what is not a number with care that no box here needs, and cost five times as much.
fn least(a: f32, b: f32) -> f32 {
    if a < b {
        a
    } else {
        b
    }
}

fn greatest(a: f32, b: f32) -> f32 {
    if a > b {
        a
    } else {
        b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(x1: f32, y1: f32, x2: f32, y2: f32) -> Bounds {
        Bounds { x1, y1, x2, y2 }
    }

    #[test]
    fn intersections_by_hand() {
        let left = bounds(0.0, 0.0, 10.0, 10.0);
        assert_eq!(left.intersection(&bounds(5.0, 2.0, 15.0, 8.0)), 30.0);
        assert_eq!(left.intersection(&bounds(10.0, 0.0, 20.0, 10.0)), 0.0);
        assert_eq!(left.intersection(&bounds(-20.0, -20.0, -5.0, -5.0)), 0.0);
        assert_eq!(left.intersection(&left), left.area());
    }

    #[test]
    fn calibration_moves_each_edge_by_its_own_side() {
        let moved = bounds(10.0, 20.0, 30.0, 60.0).calibrated(&[0.1, -0.1, -0.25, 0.5]);
        assert_eq!(moved, bounds(12.0, 16.0, 25.0, 80.0));
    }

    #[test]
    fn squares_keep_the_centre_and_the_longer_side() {
        assert_eq!(bounds(0.0, 10.0, 8.0, 30.0).squared(), bounds(-6.0, 10.0, 14.0, 30.0));
        assert_eq!(bounds(0.0, 0.0, 20.0, 10.0).squared(), bounds(0.0, -5.0, 20.0, 15.0));
    }

    #[test]
    fn absurd_boxes_are_not_plausible() {
        let plausible = |bounds: Bounds| bounds.is_plausible(100.0, 50.0);
        assert!(plausible(bounds(-10.0, -10.0, 20.0, 20.0)));
        for absurd in [
            bounds(0.0, 0.0, f32::NAN, 10.0),
            bounds(f32::NEG_INFINITY, 0.0, 10.0, 10.0),
            bounds(0.0, 0.0, 401.0, 10.0),
            bounds(0.0, 0.0, 0.5, 10.0),
            bounds(10.0, 0.0, 0.0, 10.0),
            bounds(100.0, 0.0, 110.0, 10.0),
            bounds(0.0, -20.0, 10.0, -10.0),
        ] {
            assert!(!plausible(absurd), "{absurd:?}");
        }
    }
}
