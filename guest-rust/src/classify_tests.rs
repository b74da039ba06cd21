use super::*;
use crate::failure::Status;
use crate::fake;
use crate::kernel::Filter;
use crate::request::{Element, Normalisation, Pixels, Quantisation};

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
        assert_eq!(failure.status, Status::Other);
    }
    assert!(to_probabilities(&mut classes(&[f32::NEG_INFINITY]), Scores::Logits).is_err());
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
