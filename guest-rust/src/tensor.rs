//! Pixels to tensor elements and output elements to real numbers.

use crate::request::{Element, Normalisation, Quantisation};
use crate::simd;
use crate::tensor_type::TensorType;

impl Element {
    /// Bytes of one element.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Element::F16 | Element::I16(_) => 2,
            Element::F32 => 4,
            Element::U8(_) | Element::I8(_) => 1,
        }
    }

    /// The number under which a tensor of these elements travels.
    pub(crate) fn tensor_type(self) -> TensorType {
        match self {
            Element::F16 => TensorType::F16,
            Element::F32 => TensorType::F32,
            // The dialect has no number for 16-bit integers: they travel as their bytes.
            Element::U8(_) | Element::I8(_) | Element::I16(_) => TensorType::U8,
        }
    }

    /// The bits of the element for a real number, in the low bytes.
    fn encode(self, real: f64) -> u32 {
        let quantise = |by: Quantisation, low: f64, high: f64| {
            // A finite pixel over a tiny scale may be infinite; the clamp takes that too.
            let value = (real / f64::from(by.scale)).round() + f64::from(by.zero_point);
            value.clamp(low, high) as i32 as u32
        };
        match self {
            Element::F16 => u32::from(half_from(real as f32)),
            Element::F32 => (real as f32).to_bits(),
            Element::U8(by) => quantise(by, 0.0, 255.0),
            Element::I8(by) => quantise(by, -128.0, 127.0),
            Element::I16(by) => quantise(by, -32768.0, 32767.0),
        }
    }
}

/// Makes tensor elements of RGB bytes: `real = (pixel - mean) / std`, in the model's element type and channel order.
pub(crate) struct Encoder {
    element: Element,
    bgr: bool,
    rule: Rule,
}

/// The cheapest way to the elements.
#[allow(clippy::large_enum_variant)] // there is one for each image
enum Rule {
    /// Every byte stands for itself.
    Same,
    /// Single precision, the same for all channels: `(pixel - mean) * factor`.
    Scaled { mean: f32, factor: f32 },
    /// What each of the 256 values becomes, by the model's channels.
    Table([[u32; 256]; 3]),
}

impl Encoder {
    /// The encoder for a model whose channels are blue, green, red if `bgr`.
    pub(crate) fn new(element: Element, normalisation: Normalisation, bgr: bool) -> Encoder {
        let Normalisation { mean, std } = normalisation;
        if element == Element::F32 && mean == [mean[0]; 3] && std == [std[0]; 3] {
            return Encoder { element, bgr, rule: Rule::Scaled { mean: mean[0], factor: 1.0 / std[0] } };
        }
        let codes = tables(element, normalisation);
        let bytes = element.bytes() == 1 && !bgr;
        let same =
            bytes && codes.iter().all(|table| table.iter().zip(0u8..=255).all(|(&code, pixel)| code as u8 == pixel));
        Encoder { element, bgr, rule: if same { Rule::Same } else { Rule::Table(codes) } }
    }

    /// Bytes of one element.
    pub(crate) fn bytes(&self) -> usize {
        self.element.bytes()
    }

    /// The number under which a tensor of these elements travels.
    pub(crate) fn tensor_type(&self) -> TensorType {
        self.element.tensor_type()
    }

    /// Whether the elements are the pixels' own bytes.
    pub(crate) fn keeps_bytes(&self) -> bool {
        matches!(self.rule, Rule::Same)
    }

    /// Converts whole pixels into the bytes of as many elements.
    pub(crate) fn convert(&self, pixels: &[u8], tensor: &mut [u8]) {
        match &self.rule {
            Rule::Same => tensor.copy_from_slice(pixels),
            Rule::Scaled { mean, factor } => {
                simd::normalise(pixels, *mean, *factor, tensor);
                if self.bgr {
                    for pixel in tensor.chunks_exact_mut(12) {
                        (0..4).for_each(|byte| pixel.swap(byte, 8 + byte));
                    }
                }
            }
            Rule::Table(codes) => match self.bytes() {
                1 => self.look_up(codes, pixels, tensor, |code| [code as u8]),
                2 => self.look_up(codes, pixels, tensor, |code| (code as u16).to_le_bytes()),
                _ => self.look_up(codes, pixels, tensor, u32::to_le_bytes),
            },
        }
    }

    fn look_up<const N: usize>(
        &self,
        [first, second, third]: &[[u32; 256]; 3],
        pixels: &[u8],
        tensor: &mut [u8],
        bytes: impl Fn(u32) -> [u8; N],
    ) {
        let (red, blue) = if self.bgr { (2, 0) } else { (0, 2) };
        for (pixel, out) in pixels.chunks_exact(3).zip(tensor.chunks_exact_mut(3 * N)) {
            out[..N].copy_from_slice(&bytes(first[usize::from(pixel[red])]));
            out[N..2 * N].copy_from_slice(&bytes(second[usize::from(pixel[1])]));
            out[2 * N..].copy_from_slice(&bytes(third[usize::from(pixel[blue])]));
        }
    }
}

/// What each of the 256 values becomes, by the model's channels.
fn tables(element: Element, normalisation: Normalisation) -> [[u32; 256]; 3] {
    let mut codes = [[0; 256]; 3];
    for (channel, table) in codes.iter_mut().enumerate() {
        let (mean, std) = (f64::from(normalisation.mean[channel]), f64::from(normalisation.std[channel]));
        for (pixel, code) in table.iter_mut().enumerate() {
            *code = element.encode((pixel as f64 - mean) / std);
        }
    }
    codes
}

/// Makes the elements of one channel of RGB bytes, or of their luminance, for inputs that are not pixel after pixel.
pub(crate) struct PlaneEncoder {
    bytes: usize,
    bgr: bool,
    codes: [[u32; 256]; 3],
}

impl PlaneEncoder {
    /// As `Encoder::new`.
    pub(crate) fn new(element: Element, normalisation: Normalisation, bgr: bool) -> PlaneEncoder {
        PlaneEncoder { bytes: element.bytes(), bgr, codes: tables(element, normalisation) }
    }

    /// Bytes of one element.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The elements of the model's channel `channel`.
    pub(crate) fn channel(&self, channel: usize, pixels: &[u8], tensor: &mut [u8]) {
        let place = if self.bgr { 2 - channel } else { channel };
        self.look_up(channel, pixels.chunks_exact(3).map(|pixel| pixel[place]), tensor);
    }

    /// The elements of the luminance: ITU-R 601, with the integers of Pillow's "L".
    pub(crate) fn luminance(&self, pixels: &[u8], tensor: &mut [u8]) {
        let grey = |pixel: &[u8]| {
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
        };
        self.look_up(0, pixels.chunks_exact(3).map(grey), tensor);
    }

    fn look_up(&self, channel: usize, values: impl Iterator<Item = u8>, tensor: &mut [u8]) {
        let table = &self.codes[channel];
        for (value, out) in values.zip(tensor.chunks_exact_mut(self.bytes)) {
            out.copy_from_slice(&table[usize::from(value)].to_le_bytes()[..self.bytes]);
        }
    }
}

/// The real numbers behind the elements in `bytes`.
pub(crate) fn decode(element: Element, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(element.bytes()).map(move |bytes| match element {
        Element::F16 => half_to(u16::from_le_bytes([bytes[0], bytes[1]])),
        Element::F32 => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        Element::U8(by) => dequantise(by, i64::from(bytes[0])),
        Element::I8(by) => dequantise(by, i64::from(bytes[0] as i8)),
        Element::I16(by) => dequantise(by, i64::from(i16::from_le_bytes([bytes[0], bytes[1]]))),
    })
}

/// In wide numbers, because a zero point may be any 32-bit integer.
fn dequantise(by: Quantisation, value: i64) -> f32 {
    ((value - i64::from(by.zero_point)) as f64 * f64::from(by.scale)) as f32
}

/// The half-precision number nearest to `value`, ties to even, as its bits.
pub(crate) fn half_from(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = bits & 0x7fff_ffff;
    let half = if magnitude > 0x7f80_0000 {
        0x7e00 // not a number
    } else if magnitude >= 0x4780_0000 {
        0x7c00 // 65536 and more: infinite
    } else if magnitude >= 0x3880_0000 {
        // Normal: drop 13 fraction bits and move the exponent's bias from 127 to 15.
        let rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
        ((rounded >> 13) - (112 << 10)) as u16
    } else {
        // Subnormal in units of 2^-24: adding 0.5 leaves exactly those units in the fraction, rounded.
        ((f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits()) as u16
    };
    sign | half
}

/// The value of a half-precision number.
pub(crate) fn half_to(half: u16) -> f32 {
    let sign = u32::from(half & 0x8000) << 16;
    let exponent = u32::from(half >> 10 & 31);
    let fraction = u32::from(half & 0x3ff);
    let magnitude = match exponent {
        0 => (fraction as f32 * (1.0 / 16_777_216.0)).to_bits(),
        31 => 0x7f80_0000 | fraction << 13,
        _ => (exponent + 112) << 23 | fraction << 13,
    };
    f32::from_bits(sign | magnitude)
}

#[cfg(test)]
#[path = "tensor_tests.rs"]
mod tests;
