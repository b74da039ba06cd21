use super::*;

const PLAIN: Normalisation = Normalisation { mean: [127.5; 3], std: [127.5; 3] };

fn converted(element: Element, normalisation: Normalisation, bgr: bool, pixels: &[u8]) -> Vec<u8> {
    let mut tensor = vec![0; pixels.len() * element.bytes()];
    Encoder::new(element, normalisation, bgr).convert(pixels, &mut tensor);
    tensor
}

#[test]
fn float_pixels_are_normalised_per_channel() {
    let normalisation = Normalisation { mean: [0.0, 100.0, 10.0], std: [1.0, 2.0, 10.0] };
    let reals = |bgr| {
        let bytes = converted(Element::F32, normalisation, bgr, &[30, 104, 5]);
        decode(Element::F32, &bytes).collect::<Vec<f32>>()
    };
    assert_eq!(reals(false), [30.0, 2.0, -0.5]);
    assert_eq!(reals(true), [5.0, 2.0, 2.0]);
}

#[test]
fn quantised_pixels_are_rounded_and_cut() {
    let unit = Quantisation { scale: 0.007_812_5, zero_point: 0 };
    assert_eq!(converted(Element::I8(unit), PLAIN, false, &[0, 127, 255]), [(-128i8) as u8, (-1i8) as u8, 127]);
    let coral = Quantisation { scale: 0.007_812_5, zero_point: 128 };
    assert_eq!(converted(Element::U8(coral), PLAIN, false, &[0, 128, 255]), [0, 129, 255]);
    let identity = Normalisation { mean: [0.0; 3], std: [1.0; 3] };
    let one = Quantisation { scale: 1.0, zero_point: 0 };
    assert_eq!(converted(Element::U8(one), identity, true, &[1, 2, 3, 253, 254, 255]), [3, 2, 1, 255, 254, 253]);
    let tiny = Quantisation { scale: f32::from_bits(1), zero_point: i32::MIN };
    assert_eq!(converted(Element::U8(tiny), PLAIN, false, &[0, 127, 255]), [0, 0, 255]);
}

#[test]
fn outputs_are_dequantised_in_wide_integers() {
    let by = Quantisation { scale: 0.5, zero_point: 3 };
    assert_eq!(decode(Element::U8(by), &[0, 3, 255]).collect::<Vec<_>>(), [-1.5, 0.0, 126.0]);
    assert_eq!(decode(Element::I8(by), &[0x80, 3]).collect::<Vec<_>>(), [-65.5, 0.0]);
    let far = Quantisation { scale: 1.0, zero_point: i32::MIN };
    assert_eq!(decode(Element::U8(far), &[1]).collect::<Vec<_>>(), [2_147_483_649.0]);
}

#[test]
fn halves_survive_both_ways() {
    for half in 0..=u16::MAX {
        let value = half_to(half);
        if value.is_nan() {
            assert!(half_to(half_from(value)).is_nan());
        } else {
            assert_eq!(half_from(value), half);
        }
    }
}

#[test]
fn halves_by_hand() {
    assert_eq!(half_from(1.0), 0x3c00);
    assert_eq!(half_from(-2.0), 0xc000);
    assert_eq!(half_from(65504.0), 0x7bff);
    assert_eq!(half_from(65520.0), 0x7c00);
    assert_eq!(half_from(1e9), 0x7c00);
    assert_eq!(half_from(f32::NEG_INFINITY), 0xfc00);
    assert_eq!(half_from(2f32.powi(-24)), 1);
    assert_eq!(half_from(2f32.powi(-25)), 0); // a tie goes to the even neighbour
    assert_eq!(half_from(3.0 * 2f32.powi(-25)), 2);
    assert_eq!(half_from(1.0 + 2f32.powi(-11)), 0x3c00);
    assert_eq!(half_from(1.0 + 3.0 * 2f32.powi(-11)), 0x3c02);
    assert_eq!(half_from(1e-30), 0);
    assert_eq!(half_to(0x3555), 0.333_251_95);
}

#[test]
fn scaled_pixels_keep_the_order_of_the_channels() {
    let pixels: Vec<u8> = (0..60).collect();
    let normalisation = Normalisation { mean: [10.0; 3], std: [2.0; 3] };
    let reals = |bgr| {
        let bytes = converted(Element::F32, normalisation, bgr, &pixels);
        decode(Element::F32, &bytes).collect::<Vec<f32>>()
    };
    assert_eq!(reals(false)[..3], [-5.0, -4.5, -4.0]);
    assert_eq!((&reals(true)[..3], &reals(true)[57..]), (&[-4.0, -4.5, -5.0][..], &[24.5, 24.0, 23.5][..]));
}

#[test]
fn bytes_that_stand_for_themselves_are_copied() {
    let normalisation = Normalisation { mean: [127.0; 3], std: [128.0; 3] };
    let element = Element::U8(Quantisation { scale: 1.0 / 128.0, zero_point: 127 });
    let pixels: Vec<u8> = (0..255).collect();
    assert!(matches!(Encoder::new(element, normalisation, false).rule, Rule::Same));
    assert_eq!(converted(element, normalisation, false, &pixels), pixels);
    assert_eq!(converted(element, normalisation, true, &pixels)[..3], [2, 1, 0]);
    let signed = Element::I8(Quantisation { scale: 1.0 / 128.0, zero_point: 0 });
    assert!(matches!(Encoder::new(signed, normalisation, false).rule, Rule::Table(_)));
}
