//! The request records of the ABI, read field by field from their bytes.

use crate::failure::Failure;
use crate::kernel::Filter;

/// Bytes of a classify request.
pub(crate) const CLASSIFY_BYTES: usize = 112;
/// Bytes of a classify request that says where the axes of the input are.
pub(crate) const EXTENDED_BYTES: usize = 148;
/// Bytes of a detect request.
pub(crate) const DETECT_BYTES: usize = 64;

/// An image in guest memory: where it lies and how large it is, not yet checked against the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    /// Offset of the first byte.
    pub(crate) pointer: u32,
    /// Width in pixels, at least 1.
    pub(crate) width: usize,
    /// Height in pixels, at least 1.
    pub(crate) height: usize,
    /// Bytes in all.
    pub(crate) bytes: usize,
}

/// Element types of a model's input or output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Element {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
    /// `real = (q - zero_point) * scale` with unsigned bytes.
    U8(Quantisation),
    /// The same with signed bytes.
    I8(Quantisation),
    /// The same with signed 16-bit numbers.
    I16(Quantisation),
}

impl Element {
    /// A byte of the image as it is, for a network that makes its own numbers of it.
    pub(crate) const PIXEL: Element = Element::U8(Quantisation { scale: 1.0, zero_point: 0 });
}

/// How a byte stands for a real number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantisation {
    /// One step in real units.
    pub(crate) scale: f32,
    /// The byte that stands for 0.
    pub(crate) zero_point: i32,
}

/// `real = (pixel - mean) / std`, per channel of the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Normalisation {
    /// Means in pixel units.
    pub(crate) mean: [f32; 3],
    /// Standard deviations in pixel units.
    pub(crate) std: [f32; 3],
}

/// How an image becomes as large as the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crop {
    /// The whole image, its aspect ratio changed.
    Squash,
    /// The largest centred part of the input's aspect ratio.
    Centre,
    /// The whole image with a border of this colour (red, green, blue) around it.
    Pad([u8; 3]),
}

/// What the numbers of an output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scores {
    /// Probabilities, unless a value lies outside 0 to 1.
    Unknown,
    /// Probabilities.
    Probabilities,
    /// Logits, which need a softmax.
    Logits,
}

/// The axes of a model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    axes: [u32; 4],
    rank: usize,
    /// A plane for each channel instead of a pixel after the other.
    pub(crate) planar: bool,
    /// One channel of luminance instead of three of colour.
    pub(crate) grey: bool,
    /// Images in the tensor, of which the photo is the first.
    pub(crate) batch: usize,
}

impl Layout {
    /// One image with its channels last: what a record of 112 bytes means.
    pub(crate) fn usual(width: usize, height: usize) -> Layout {
        Layout { axes: [1, height as u32, width as u32, 3], rank: 4, planar: false, grey: false, batch: 1 }
    }

    /// The dimensions of the tensor.
    pub(crate) fn dimensions(&self) -> &[u32] {
        &self.axes[..self.rank]
    }

    /// Elements of a pixel.
    pub(crate) fn depth(&self) -> usize {
        if self.grey {
            1
        } else {
            3
        }
    }
}

/// A checked classify request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassifyRequest {
    /// The image.
    pub(crate) pixels: Pixels,
    /// How many classes to return at most.
    pub(crate) top_k: usize,
    /// Scores below this are left out.
    pub(crate) min_score: f32,
    /// Width of the model's input.
    pub(crate) input_width: usize,
    /// Height of the model's input.
    pub(crate) input_height: usize,
    /// Element type of the model's input.
    pub(crate) input: Element,
    /// What becomes of a pixel's value.
    pub(crate) normalisation: Normalisation,
    /// Whether the model's channels are blue, green, red.
    pub(crate) bgr: bool,
    /// How the image is cut.
    pub(crate) crop: Crop,
    /// How the image is resized.
    pub(crate) filter: Filter,
    /// Which output to read.
    pub(crate) output_index: u32,
    /// How many classes it has.
    pub(crate) classes: usize,
    /// Element type of the output.
    pub(crate) output: Element,
    /// What the output's numbers are.
    pub(crate) scores: Scores,
    /// Where the axes of the input are.
    pub(crate) layout: Layout,
    /// The output has one number for each image: the score of the only class, or of the second of two.
    pub(crate) binary: bool,
}

/// A checked detect request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct DetectRequest {
    /// The image.
    pub(crate) pixels: Pixels,
    /// Side of the smallest face to look for, in pixels.
    pub(crate) min_size: f32,
    /// Score thresholds of P-Net, R-Net and O-Net.
    pub(crate) thresholds: [f32; 3],
    /// Ratio from one pyramid level to the next.
    pub(crate) factor: f32,
    /// Elements of the networks' inputs.
    pub(crate) input: Element,
    /// What becomes of a pixel's value, the same for all channels.
    pub(crate) normalisation: Normalisation,
    /// Whether the models' channels are blue, green, red.
    pub(crate) bgr: bool,
    /// How many faces to return at most.
    pub(crate) max_faces: usize,
}

/// Reads little-endian fields; the slice is as long as the longest offset demands.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(record: &'a [u8], size: usize) -> Result<Fields<'a>, Failure> {
        if record.len() < size || Fields(record).size(0) < size {
            return Err(Failure::bad_request("the request", "is smaller than ABI version 1 demands"));
        }
        Ok(Fields(record))
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]])
    }

    fn size(&self, at: usize) -> usize {
        self.u32(at) as usize
    }

    /// A count whose 0 means no limit.
    fn limit(&self, at: usize) -> usize {
        match self.size(at) {
            0 => usize::MAX,
            count => count,
        }
    }

    fn f32(&self, at: usize) -> f32 {
        f32::from_bits(self.u32(at))
    }

    fn finite(&self, at: usize, name: &'static str) -> Result<f32, Failure> {
        let value = self.f32(at);
        if value.is_finite() {
            Ok(value)
        } else {
            Err(Failure::bad_request(name, "is not a finite number"))
        }
    }

    fn positive(&self, at: usize, name: &'static str) -> Result<f32, Failure> {
        let value = self.finite(at, name)?;
        if value > 0.0 {
            Ok(value)
        } else {
            Err(Failure::bad_request(name, "must be greater than 0"))
        }
    }

    fn pixels(&self) -> Result<Pixels, Failure> {
        let (width, height) = (self.size(8), self.size(12));
        let bytes = width.checked_mul(height).and_then(|count| count.checked_mul(3));
        match bytes {
            Some(0) => Err(Failure::bad_request("the image", "has no pixels")),
            Some(bytes) if bytes <= i32::MAX as usize => Ok(Pixels { pointer: self.u32(4), width, height, bytes }),
            _ => Err(Failure::bad_request("the image", "has more bytes than a guest can address")),
        }
    }

    fn bgr(&self, at: usize) -> Result<bool, Failure> {
        match self.u32(at) {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Failure::bad_request("the channel order", "is neither 0 (RGB) nor 1 (BGR)")),
        }
    }

    fn flag(&self, at: usize, name: &'static str) -> Result<bool, Failure> {
        match self.u32(at) {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Failure::bad_request(name, "is neither 0 nor 1")),
        }
    }

    /// The extension of a classify request for an input of this size.
    fn layout(&self, width: usize, height: usize) -> Result<Layout, Failure> {
        let wrong = |what| Err(Failure::bad_request("the input's layout", what));
        let rank = self.size(112);
        if !(1..=4).contains(&rank) {
            return wrong("has a number of axes that is none of 1 to 4");
        }
        let mut axes = [1; 4];
        for (axis, length) in axes.iter_mut().enumerate().take(rank) {
            *length = self.u32(116 + 4 * axis);
        }
        let grey = match self.u32(136) {
            1 => true,
            3 => false,
            _ => return wrong("has a number of channels that is neither 1 nor 3"),
        };
        let planar = self.flag(132, "the order of the axes")?;
        let batch = self.size(140);
        if !(1..=1 << 12).contains(&batch) {
            return wrong("has a batch that is not 1 to 4096");
        }
        let layout = Layout { axes, rank, planar, grey, batch };
        let elements = batch as u64 * (width * height * layout.depth()) as u64;
        let product = axes.iter().try_fold(1u64, |product, &axis| product.checked_mul(u64::from(axis)));
        if product != Some(elements) || elements > i32::MAX as u64 {
            return wrong("has another number of elements than its size, channels and batch give");
        }
        Ok(layout)
    }

    /// The element type at `kind`, with its scale and zero point where it has them.
    fn element(&self, kind: usize, scale: usize, name: &'static str) -> Result<Element, Failure> {
        let quantisation = || -> Result<Quantisation, Failure> {
            let zero_point = self.u32(scale + 4) as i32;
            Ok(Quantisation { scale: self.positive(scale, "a quantisation scale")?, zero_point })
        };
        match self.u32(kind) {
            0 => Ok(Element::F16),
            1 => Ok(Element::F32),
            3 => Ok(Element::U8(quantisation()?)),
            7 => Ok(Element::I8(quantisation()?)),
            8 => Ok(Element::I16(quantisation()?)),
            _ => {
                Err(Failure::bad_request(name, "has a type that is none of 0 (f16), 1 (f32), 3 (u8), 7 (i8), 8 (i16)"))
            }
        }
    }

    fn normalisation(&self, mean: usize, std: usize) -> Result<Normalisation, Failure> {
        let mut result = Normalisation { mean: [0.0; 3], std: [1.0; 3] };
        for channel in 0..3 {
            result.mean[channel] = self.finite(mean + 4 * channel, "the mean")?;
            result.std[channel] = self.positive(std + 4 * channel, "the standard deviation")?;
        }
        Ok(result)
    }
}

impl ClassifyRequest {
    /// How many bytes to give to `parse`, from the first ones of a record.
    pub(crate) fn bytes(record: &[u8]) -> usize {
        match Fields::of(record, CLASSIFY_BYTES) {
            Ok(fields) if fields.size(0) >= EXTENDED_BYTES => EXTENDED_BYTES,
            _ => CLASSIFY_BYTES,
        }
    }

    /// Reads and checks a record of 112 bytes, or of 148 with the extension.
    pub(crate) fn parse(record: &[u8]) -> Result<ClassifyRequest, Failure> {
        let fields = Fields::of(record, CLASSIFY_BYTES)?;
        let (input_width, input_height, classes) = (fields.size(24), fields.size(28), fields.size(84));
        // 2^14 pixels a side and 2^24 classes are far beyond any classifier, and keep every product small.
        if !(1..=1 << 14).contains(&input_width) || !(1..=1 << 14).contains(&input_height) {
            return Err(Failure::bad_request("the model's input", "must have sides of 1 to 16384"));
        }
        if !(1..=1 << 24).contains(&classes) {
            return Err(Failure::bad_request("the number of classes", "must be 1 to 16777216"));
        }
        let min_score = fields.f32(20);
        if min_score.is_nan() {
            return Err(Failure::bad_request("the minimum score", "is not a number"));
        }
        let is_extended = record.len() >= EXTENDED_BYTES && fields.size(0) >= EXTENDED_BYTES;
        let binary = is_extended && fields.flag(144, "the kind of classes")?;
        if binary && classes > 2 {
            return Err(Failure::bad_request("the number of classes", "must be 1 or 2 where the output has one value"));
        }
        Ok(ClassifyRequest {
            pixels: fields.pixels()?,
            top_k: fields.limit(16),
            min_score,
            input_width,
            input_height,
            input: fields.element(32, 36, "the model's input")?,
            normalisation: fields.normalisation(44, 56)?,
            bgr: fields.bgr(68)?,
            crop: match fields.u32(72) {
                0 => Crop::Squash,
                1 => Crop::Centre,
                2 => Crop::Pad([record[104], record[105], record[106]]),
                _ => return Err(Failure::bad_request("the crop rule", "is none of 0, 1, 2")),
            },
            filter: match fields.u32(76) {
                0 => Filter::Bilinear,
                1 => Filter::Bicubic,
                _ => return Err(Failure::bad_request("the resize filter", "is neither 0 nor 1")),
            },
            output_index: fields.u32(80),
            classes,
            output: fields.element(88, 92, "the model's output")?,
            scores: match fields.u32(100) {
                0 => Scores::Unknown,
                1 => Scores::Probabilities,
                2 => Scores::Logits,
                _ => return Err(Failure::bad_request("the kind of output", "is none of 0, 1, 2")),
            },
            layout: if is_extended {
                fields.layout(input_width, input_height)?
            } else {
                Layout::usual(input_width, input_height)
            },
            binary,
        })
    }
}

impl DetectRequest {
    /// Reads and checks a record of at least 64 bytes.
    pub(crate) fn parse(record: &[u8]) -> Result<DetectRequest, Failure> {
        let fields = Fields::of(record, DETECT_BYTES)?;
        let factor = fields.positive(32, "factor")?;
        if factor >= 1.0 {
            return Err(Failure::bad_request("factor", "must lie between 0 and 1"));
        }
        let normalisation = Normalisation {
            mean: [fields.finite(36, "the mean")?; 3],
            std: [fields.positive(40, "the standard deviation")?; 3],
        };
        let (input, normalisation) = match fields.u32(52) {
            0 | 1 => (Element::F32, normalisation),
            3 => (Element::PIXEL, Normalisation { mean: [0.0; 3], std: [1.0; 3] }),
            _ => {
                return Err(Failure::bad_request(
                    "the networks' input",
                    "has a type that is none of 0, 1 (f32), 3 (u8)",
                ))
            }
        };
        Ok(DetectRequest {
            pixels: fields.pixels()?,
            min_size: fields.positive(16, "min_size")?,
            thresholds: [
                fields.finite(20, "P-Net's threshold")?,
                fields.finite(24, "R-Net's threshold")?,
                fields.finite(28, "O-Net's threshold")?,
            ],
            factor,
            input,
            normalisation,
            bgr: fields.bgr(44)?,
            max_faces: fields.limit(48),
        })
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
