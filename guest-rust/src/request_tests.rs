use super::*;
use crate::failure::Status;

/// Writes fields into a record: offset and bits.
fn record(size: usize, fields: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for &(at, bits) in fields {
        bytes[at..at + 4].copy_from_slice(&bits.to_le_bytes());
    }
    bytes
}

fn classify(changes: &[(usize, u32)]) -> Result<ClassifyRequest, Failure> {
    let one = 1f32.to_bits();
    let mut bytes = record(
        CLASSIFY_BYTES,
        &[(0, 112), (4, 4096), (8, 640), (12, 480), (16, 5), (20, 0.25f32.to_bits()), (24, 224), (28, 192)],
    );
    let rest = [(32, 3), (36, 0.5f32.to_bits()), (40, 128), (44, one), (56, one), (60, one), (64, one), (84, 1001)];
    let tail = [(88, 7), (92, one), (96, -128i32 as u32)];
    for (at, bits) in rest.iter().chain(&tail).chain(changes) {
        bytes[*at..at + 4].copy_from_slice(&bits.to_le_bytes());
    }
    ClassifyRequest::parse(&bytes)
}

fn detect(changes: &[(usize, u32)]) -> Result<DetectRequest, Failure> {
    let mut fields = vec![(0, 64), (4, 4096), (8, 640), (12, 480)];
    for (at, value) in [(16, 20f32), (20, 0.6), (24, 0.7), (28, 0.75), (32, 0.709), (36, 127.5), (40, 128.0)] {
        fields.push((at, value.to_bits()));
    }
    fields.extend_from_slice(changes);
    DetectRequest::parse(&record(DETECT_BYTES, &fields))
}

fn is_bad<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> bool {
    outcome.unwrap_err().status == Status::BadRequest
}

#[test]
fn a_classify_request_is_read_field_by_field() {
    let request = classify(&[(52, 3f32.to_bits()), (68, 1), (72, 2), (76, 1), (80, 2), (100, 2), (104, 0x0003_0201)]);
    let request = request.unwrap();
    assert_eq!(request.pixels, Pixels { pointer: 4096, width: 640, height: 480, bytes: 921_600 });
    assert_eq!((request.top_k, request.min_score), (5, 0.25));
    assert_eq!((request.input_width, request.input_height), (224, 192));
    assert_eq!(request.input, Element::U8(Quantisation { scale: 0.5, zero_point: 128 }));
    assert_eq!(request.normalisation, Normalisation { mean: [1.0, 0.0, 3.0], std: [1.0; 3] });
    assert!(request.bgr);
    assert_eq!((request.crop, request.filter), (Crop::Pad([1, 2, 3]), Filter::Bicubic));
    assert_eq!((request.output_index, request.classes), (2, 1001));
    assert_eq!(request.output, Element::I8(Quantisation { scale: 1.0, zero_point: -128 }));
    assert_eq!(request.scores, Scores::Logits);
    assert_eq!(classify(&[(16, 0)]).unwrap().top_k, usize::MAX);
}

fn extended(changes: &[(usize, u32)]) -> Result<ClassifyRequest, Failure> {
    let one = 1f32.to_bits();
    let fields = [(4, 4096), (8, 640), (12, 480), (24, 224), (28, 192), (32, 1), (56, one), (60, one), (64, one)];
    let tail = [(84, 2), (88, 1), (112, 4), (116, 8), (120, 3), (124, 192), (128, 224), (132, 1), (136, 3), (140, 8)];
    let mut bytes = record(EXTENDED_BYTES, &[(0, 148), (144, 1)]);
    for (at, bits) in fields.iter().chain(&tail).chain(changes) {
        bytes[*at..at + 4].copy_from_slice(&bits.to_le_bytes());
    }
    assert_eq!(ClassifyRequest::bytes(&bytes), if changes.contains(&(0, 147)) { 112 } else { 148 });
    ClassifyRequest::parse(&bytes)
}

#[test]
fn the_extension_says_where_the_axes_are() {
    let request = extended(&[]).unwrap();
    assert_eq!(request.layout.dimensions(), [8, 3, 192, 224]);
    assert_eq!((request.layout.planar, request.layout.grey, request.layout.batch), (true, false, 8));
    assert!(request.binary);
    let flat = extended(&[(112, 2), (116, 192), (120, 224), (132, 0), (136, 1), (140, 1)]).unwrap();
    assert_eq!((flat.layout.dimensions(), flat.layout.depth()), (&[192, 224][..], 1));
    // A shorter record has no extension, whatever lies behind it.
    let short = extended(&[(0, 147)]).unwrap();
    assert_eq!((short.layout, short.binary), (Layout::usual(224, 192), false));
}

#[test]
fn absurd_extensions_are_refused() {
    let huge = [(112, 0), (112, 5), (116, 7), (128, u32::MAX), (132, 2), (136, 2), (140, 0), (140, 1 << 20), (144, 2)];
    for change in huge {
        assert!(is_bad(extended(&[change])), "{change:?}");
    }
    assert!(is_bad(extended(&[(84, 3)])));
    assert!(is_bad(extended(&[(24, 1 << 14), (28, 1 << 14), (124, 1 << 14), (128, 1 << 14)])));
}

#[test]
fn a_detect_request_is_read_field_by_field() {
    let request = detect(&[(44, 1), (48, 9)]).unwrap();
    assert_eq!(request.pixels.bytes, 921_600);
    assert_eq!((request.min_size, request.factor), (20.0, 0.709));
    assert_eq!(request.thresholds, [0.6, 0.7, 0.75]);
    assert_eq!(request.normalisation, Normalisation { mean: [127.5; 3], std: [128.0; 3] });
    assert_eq!((request.bgr, request.max_faces), (true, 9));
    assert_eq!(request.input, Element::F32);
    assert_eq!(detect(&[]).unwrap().max_faces, usize::MAX);
}

#[test]
fn networks_may_take_the_pixels_as_they_are() {
    assert_eq!(detect(&[(52, 1)]).unwrap(), detect(&[]).unwrap());
    let request = detect(&[(52, 3)]).unwrap();
    assert_eq!(request.input, Element::U8(Quantisation { scale: 1.0, zero_point: 0 }));
    assert_eq!(request.normalisation, Normalisation { mean: [0.0; 3], std: [1.0; 3] });
}

#[test]
fn sizes_are_checked_and_longer_records_accepted() {
    assert!(classify(&[(0, 120)]).is_ok());
    assert!(is_bad(classify(&[(0, 111)])));
    assert!(is_bad(ClassifyRequest::parse(&[112, 0, 0, 0])));
    assert!(is_bad(DetectRequest::parse(&[])));
}

#[test]
fn absurd_classify_requests_are_refused() {
    let nan = f32::NAN.to_bits();
    let changes = [
        (8, 0),
        (12, 0),
        (8, u32::MAX),
        (12, 1 << 31),
        (20, nan),
        (24, 0),
        (28, u32::MAX),
        (32, 2),
        (36, 0),
        (36, nan),
        (44, nan),
        (56, 0),
        (64, (-1f32).to_bits()),
        (68, 2),
        (72, 3),
        (76, 2),
        (84, 0),
        (84, u32::MAX),
        (88, 4),
        (92, 0),
        (100, 3),
    ];
    for change in changes {
        assert!(is_bad(classify(&[change])), "{change:?}");
    }
}

#[test]
fn absurd_detect_requests_are_refused() {
    let bad = [0.0, -1.0, f32::NAN, f32::INFINITY].map(f32::to_bits);
    for at in [16, 32, 40] {
        for value in bad {
            assert!(is_bad(detect(&[(at, value)])), "{at}");
        }
    }
    for at in [20, 24, 28, 36] {
        assert!(is_bad(detect(&[(at, f32::NAN.to_bits())])), "{at}");
    }
    assert!(is_bad(detect(&[(32, 1f32.to_bits())])));
    assert!(is_bad(detect(&[(44, 7)])));
    assert!(is_bad(detect(&[(52, 7)])));
    assert!(is_bad(detect(&[(8, 65536), (12, 65536)])));
}
