use super::*;
use crate::failure::Status;
use crate::host as fake;
use crate::kernel::Filter;
use crate::request::{Element, Layout, Normalisation, Pixels, Quantisation};

fn classes(scores: &[f32]) -> Vec<Class> {
    scores.iter().zip(0..).map(|(&score, index)| Class { index, score }).collect()
}

fn indices(classes: &[Class]) -> Vec<u32> {
    classes.iter().map(|class| class.index).collect()
}

fn request(width: usize, height: usize, crop: Crop) -> ClassifyRequest {
    ClassifyRequest {
        pixels: Pixels { pointer: 0, width, height, bytes: width * height * 3 },
        top_k: usize::MAX,
        min_score: f32::NEG_INFINITY,
        input_width: 2,
        input_height: 2,
        input: Element::U8(Quantisation { scale: 1.0, zero_point: 0 }),
        normalisation: Normalisation { mean: [0.0; 3], std: [1.0; 3] },
        bgr: false,
        crop,
        filter: Filter::Bilinear,
        output_index: 0,
        classes: 12,
        output: Element::U8(Quantisation { scale: 1.0 / 256.0, zero_point: 0 }),
        scores: Scores::Unknown,
        layout: Layout::usual(2, 2),
        binary: false,
    }
}

/// What a model that answers with its 2x2 input sees of an image.
fn seen(pixels: &[u8], width: usize, height: usize, crop: Crop) -> Vec<u8> {
    fake::serve(&[("classifier", |dimensions, data| {
        assert_eq!(dimensions, [1, 2, 2, 3]);
        Ok(vec![data.to_vec()])
    })]);
    let mut classifier = Classifier::load().unwrap();
    let request = request(width, height, crop);
    let (answer, softmax) = classifier.classify(pixels, &request).unwrap();
    assert!(!softmax);
    let mut answer = answer.to_vec();
    answer.sort_by_key(|class| class.index);
    answer.iter().map(|class| (class.score * 256.0) as u8).collect()
}

#[test]
fn crop_rules_by_hand() {
    let columns = [[[10u8; 3], [20; 3], [30; 3], [40; 3]], [[50; 3], [60; 3], [70; 3], [80; 3]]];
    let pixels = columns.concat().concat();
    assert_eq!(seen(&pixels, 4, 2, Crop::Centre), [[20u8; 3], [30; 3], [60; 3], [70; 3]].concat());
    let squashed = [[17u8; 3], [33; 3], [57; 3], [73; 3]].concat();
    assert_eq!(seen(&pixels, 4, 2, Crop::Squash), squashed);
    // 4x2 fits as 2x1 into the upper row; the border takes the lower one.
    let padded = seen(&pixels, 4, 2, Crop::Pad([1, 2, 3]));
    assert_eq!(padded[6..], [1, 2, 3, 1, 2, 3]);
    assert_eq!(padded[..6], [37, 37, 37, 53, 53, 53]);
}

#[test]
fn centred_parts_have_the_right_shape() {
    let place = |left, top, width, height| Place { left, top, width, height };
    assert_eq!(centre((640, 480), (224, 224)), place(80, 0, 480, 480));
    assert_eq!(centre((481, 640), (224, 224)), place(0, 79, 481, 481));
    assert_eq!(centre((640, 480), (320, 240)), place(0, 0, 640, 480));
    assert_eq!(centre((100, 100), (2, 1)), place(0, 25, 100, 50));
    assert_eq!(centre((224, 224), (100_000, 1)), place(0, 111, 224, 1));
    assert_eq!(centre((1, 1), (224, 224)), place(0, 0, 1, 1));
}

#[test]
fn softmax_by_hand() {
    let mut logits = classes(&[1000.0, 1000.0 + 3f32.ln(), f32::NEG_INFINITY]);
    assert!(to_probabilities(&mut logits, Scores::Unknown).unwrap());
    assert!((logits[0].score - 0.25).abs() < 1e-4 && (logits[1].score - 0.75).abs() < 1e-4);
    assert_eq!(logits[2].score, 0.0);
}

#[test]
fn softmax_only_where_it_is_needed() {
    assert!(!to_probabilities(&mut classes(&[0.0, 1.000_01]), Scores::Unknown).unwrap());
    assert!(to_probabilities(&mut classes(&[0.0, 1.1]), Scores::Unknown).unwrap());
    assert!(to_probabilities(&mut classes(&[-0.5, 0.3]), Scores::Unknown).unwrap());
    assert!(to_probabilities(&mut classes(&[0.5, 0.3]), Scores::Logits).unwrap());
    assert!(!to_probabilities(&mut classes(&[-3.0, 9.0]), Scores::Probabilities).unwrap());
}

#[test]
fn scores_that_are_no_numbers_are_the_models_failure() {
    for bad in [f32::NAN, f32::INFINITY] {
        let failure = to_probabilities(&mut classes(&[0.5, bad]), Scores::Unknown).unwrap_err();
        assert_eq!(failure.status, Status::NoNumber);
    }
    let failure = to_probabilities(&mut classes(&[f32::NEG_INFINITY]), Scores::Logits).unwrap_err();
    assert_eq!(failure.status, Status::NoNumber);
    assert_eq!(to_probability(f32::NAN, Scores::Unknown).unwrap_err().status, Status::NoNumber);
}

#[test]
fn the_best_come_first_and_ties_by_index() {
    let best = |scores: &[f32], top_k, min_score| {
        let mut best = Vec::new();
        keep_best(&classes(scores), top_k, min_score, &mut Ranking::default(), &mut best).unwrap();
        indices(&best)
    };
    assert_eq!(best(&[0.1, 0.5, 0.3, 0.5, 0.0, 0.3], 4, 0.0), [1, 3, 2, 5]);
    assert_eq!(best(&[0.1, 0.5, 0.3, 0.5], usize::MAX, 0.3), [1, 3, 2]);
    assert_eq!(best(&[0.1], 1, 0.2), []);
}

#[test]
fn a_model_of_another_size_is_no_panic() {
    fake::serve(&[("classifier", |_, _| Ok(vec![vec![0; 11]]))]);
    let outcome = Classifier::load().unwrap().classify(&[0; 3], &request(1, 1, Crop::Squash)).map(|_| ());
    assert_eq!(outcome.unwrap_err().status, Status::Other);
    fake::serve(&[("classifier", |_, _| Ok(vec![vec![0; 13]]))]);
    let outcome = Classifier::load().unwrap().classify(&[0; 3], &request(1, 1, Crop::Squash)).map(|_| ());
    assert_eq!(outcome.unwrap_err().status, Status::Other);
}

#[test]
fn a_failing_network_gives_its_errno() {
    fake::serve(&[]);
    assert_eq!(Classifier::load().map(|_| ()).unwrap_err().errno, 8);
    fake::serve(&[("classifier", |_, _| Err(5))]);
    let failure = Classifier::load().unwrap().classify(&[0; 3], &request(1, 1, Crop::Squash)).map(|_| ()).unwrap_err();
    assert_eq!((failure.status, failure.errno), (Status::Network, 5));
    assert_eq!(fake::contexts().0, 0);
}

/// What a model with this layout sees of an image whose pixels are two blocks of colour side by side.
fn seen_in(axes: &[u32], layout: (u32, u32, u32), input: (u32, Quantisation), crop: u32) -> Vec<u8> {
    fake::serve(&[("classifier", |_, data| Ok(vec![data.to_vec()]))]);
    let mut record = vec![0; 148];
    let mut put = |at: usize, bits: u32| record[at..at + 4].copy_from_slice(&bits.to_le_bytes());
    let one = 1f32.to_bits();
    let unit = [(0, 148), (4, 4096), (8, 4), (12, 2), (24, 2), (28, 2), (56, one), (60, one), (64, one), (72, crop)];
    unit.iter().for_each(|&(at, bits)| put(at, bits));
    let scale = input.1.scale.to_bits();
    let (values, batch) = (axes.iter().product::<u32>(), layout.2);
    [(32, input.0), (36, scale), (40, input.1.zero_point as u32), (84, values / batch)].map(|(at, bits)| put(at, bits));
    [(88, input.0), (92, one), (104, 0x0003_0201), (112, axes.len() as u32)].map(|(at, bits)| put(at, bits));
    axes.iter().zip(0..).for_each(|(&axis, place)| put(116 + 4 * place, axis));
    [(132, layout.0), (136, layout.1), (140, batch)].map(|(at, bits)| put(at, bits));
    let request = ClassifyRequest::parse(&record).unwrap();
    let pixels = [[[10u8, 20, 30], [10, 20, 30], [40, 50, 60], [40, 50, 60]]; 2].concat().concat();
    let mut classifier = Classifier::load().unwrap();
    classifier.classify(&pixels, &request).unwrap();
    classifier.input.clone()
}

#[test]
fn planes_batches_and_grey_by_hand() {
    let byte = (3, Quantisation { scale: 1.0, zero_point: 0 });
    let planes = [10, 40, 10, 40, 20, 50, 20, 50, 30, 60, 30, 60];
    assert_eq!(seen_in(&[1, 3, 2, 2], (1, 3, 1), byte, 1)[..], [10, 40, 10, 40, 20, 50, 20, 50, 30, 60, 30, 60]);
    assert_eq!(seen_in(&[2, 3, 2, 2], (1, 3, 2), byte, 1)[..12], planes);
    assert_eq!(seen_in(&[2, 3, 2, 2], (1, 3, 2), byte, 1)[12..], [0; 12]);
    assert_eq!(seen_in(&[2, 2, 2, 3], (0, 3, 2), byte, 1)[..6], [10, 20, 30, 40, 50, 60]);
    assert_eq!(seen_in(&[2, 2, 2, 3], (0, 3, 2), byte, 1)[12..], [0; 12]);
    // 0.299, 0.587 and 0.114 of the channels.
    assert_eq!(seen_in(&[1, 2, 2, 1], (0, 1, 1), byte, 1), [18, 48, 18, 48]);
    assert_eq!(seen_in(&[2, 2], (0, 1, 1), byte, 1), [18, 48, 18, 48]);
    let padded = seen_in(&[1, 3, 2, 2], (1, 3, 1), byte, 2);
    assert_eq!((&padded[2..4], &padded[6..8], &padded[10..]), (&[1, 1][..], &[2, 2][..], &[3, 3][..]));
    let wide = (8, Quantisation { scale: 0.01, zero_point: 0 });
    let words = seen_in(&[1, 2, 2, 1], (0, 1, 1), wide, 1);
    assert_eq!(words, [1800i16, 4800, 1800, 4800].map(i16::to_le_bytes).concat());
}

#[test]
fn the_only_value_is_a_probability_or_a_logit() {
    assert_eq!(to_probability(0.25, Scores::Unknown).unwrap(), (0.25, false));
    assert_eq!(to_probability(0.0, Scores::Logits).unwrap(), (0.5, true));
    let (score, sigmoid) = to_probability(3f32.ln(), Scores::Unknown).unwrap();
    assert!(sigmoid && (score - 0.75).abs() < 1e-6);
    assert_eq!(to_probability(f32::NEG_INFINITY, Scores::Logits).unwrap().0, 0.0);
    assert!(to_probability(f32::NAN, Scores::Logits).is_err());
}

#[test]
fn one_output_gives_one_class_or_two() {
    fake::serve(&[("classifier", |_, _| Ok(vec![vec![64]]))]);
    let answer = |classes| {
        let mut request = request(1, 1, Crop::Squash);
        (request.classes, request.binary) = (classes, true);
        Classifier::load().unwrap().classify(&[0; 3], &request).unwrap().0.to_vec()
    };
    assert_eq!(answer(1), [Class { index: 0, score: 0.25 }]);
    assert_eq!(answer(2), [Class { index: 0, score: 0.75 }, Class { index: 1, score: 0.25 }]);
}
