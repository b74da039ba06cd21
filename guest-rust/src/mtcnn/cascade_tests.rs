use super::*;
use crate::failure::Status;
use crate::host::{self as fake, Network};
use crate::request::{Element, Normalisation, Pixels};

fn request(width: usize, height: usize) -> DetectRequest {
    DetectRequest {
        pixels: Pixels { pointer: 0, width, height, bytes: width * height * 3 },
        min_size: 20.0,
        thresholds: [0.6, 0.7, 0.7],
        factor: 0.709,
        input: Element::F32,
        normalisation: Normalisation { mean: [127.5; 3], std: [128.0; 3] },
        bgr: false,
        max_faces: usize::MAX,
    }
}

fn detect(networks: [Network; 3], width: usize, height: usize) -> Result<Vec<Face>, Failure> {
    fake::serve(&[("pnet", networks[0]), ("rnet", networks[1]), ("onet", networks[2])]);
    let pixels = vec![90; width * height * 3];
    Detector::load()?.detect(&pixels, &request(width, height)).map(<[Face]>::to_vec)
}

fn bytes(numbers: impl Iterator<Item = f32>) -> Vec<u8> {
    numbers.flat_map(f32::to_le_bytes).collect()
}

/// As many copies of `numbers` as `count` says.
fn repeated(numbers: &[f32], count: u32) -> Vec<u8> {
    bytes((0..count).flat_map(|_| numbers.iter().copied()))
}

/// Cells of P-Net's map.
fn cells(dimensions: &[u32]) -> u32 {
    let side = |pixels: u32| (pixels - 2 + 1) / 2 - 4;
    assert!(dimensions[0] == 1 && dimensions[3] == 3);
    side(dimensions[1]) * side(dimensions[2])
}

/// A P-Net that finds a face in its first cell only.
fn first_cell(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
    let count = cells(dimensions);
    let scores = (0..count).flat_map(|cell| if cell == 0 { [0.1, 0.9] } else { [0.8, 0.2] });
    Ok(vec![repeated(&[0.0; 4], count), bytes(scores)])
}

fn every_cell(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
    Ok(vec![repeated(&[0.0; 4], cells(dimensions)), repeated(&[0.0, 1.0], cells(dimensions))])
}

fn no_cell(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
    Ok(vec![repeated(&[0.0; 4], cells(dimensions)), repeated(&[1.0, 0.0], cells(dimensions))])
}

fn refine(dimensions: &[u32], input: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
    assert_eq!(dimensions[1..], [24, 24, 3]);
    // The grey image, away from the black around it, in normalised form.
    let centre = (12 * 24 + 12) * 3 * 4;
    assert_eq!(input[centre..centre + 4], ((90.0f32 - 127.5) / 128.0).to_le_bytes());
    Ok(vec![repeated(&[0.0; 4], dimensions[0]), repeated(&[0.1, 0.9], dimensions[0])])
}

fn output(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
    assert_eq!(dimensions[1..], [48, 48, 3]);
    let points = [0.0, 0.2, 0.4, 0.6, 0.8, 0.1, 0.3, 0.5, 0.7, 0.9];
    let offsets = [0.0, 0.0, 0.0, 1.0 / 3.0];
    Ok(vec![repeated(&offsets, dimensions[0]), repeated(&points, dimensions[0]), repeated(&[0.0, 0.95], dimensions[0])])
}

fn never(_: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
    panic!("nothing is left to look at")
}

#[test]
fn one_window_becomes_one_face() {
    // 24 x 24 pixels make one level of 14 x 14: the first window covers 12 / 14 of the image, 20.6 pixels.
    let faces = detect([first_cell, refine, output], 24, 24).unwrap();
    assert_eq!(faces.len(), 1);
    assert_eq!(faces[0].bounds, Bounds { x1: 0.0, y1: 0.0, x2: 21.0, y2: 28.0 });
    assert_eq!(faces[0].score, 0.95);
    let expected = [[0.0, 2.1], [4.2, 6.3], [8.4, 10.5], [12.6, 14.7], [16.8, 18.9]];
    for (point, expected) in faces[0].landmarks.iter().zip(expected) {
        assert!((point[0] - expected[0]).abs() < 1e-4 && (point[1] - expected[1]).abs() < 1e-4);
    }
}

#[test]
fn networks_that_take_bytes_see_the_pixels() {
    fn refine_bytes(dimensions: &[u32], input: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        assert_eq!(input.len(), dimensions.iter().product::<u32>() as usize);
        assert_eq!(input[(12 * 24 + 12) * 3..][..3], [90, 80, 70]);
        Ok(vec![repeated(&[0.0; 4], dimensions[0]), repeated(&[0.1, 0.9], dimensions[0])])
    }
    fake::serve(&[("pnet", first_cell), ("rnet", refine_bytes), ("onet", output)]);
    let pixels = [70, 80, 90].repeat(24 * 24);
    let raw = Normalisation { mean: [0.0; 3], std: [1.0; 3] };
    let request = DetectRequest { input: Element::PIXEL, normalisation: raw, bgr: true, ..request(24, 24) };
    assert_eq!(Detector::load().unwrap().detect(&pixels, &request).unwrap().len(), 1);
}

#[test]
fn without_proposals_the_other_networks_are_not_run() {
    assert_eq!(detect([no_cell, never, never], 200, 100).unwrap(), []);
    assert_eq!(detect([never, never, never], 1, 1).unwrap(), []);
    assert_eq!(detect([never, never, never], 5000, 3).unwrap(), []);
}

#[test]
fn the_best_faces_are_kept() {
    fake::serve(&[("pnet", every_cell), ("rnet", refine), ("onet", output)]);
    let pixels = vec![90; 300 * 200 * 3];
    let mut detector = Detector::load().unwrap();
    let all = detector.detect(&pixels, &request(300, 200)).unwrap().to_vec();
    assert!(all.len() > 3);
    let limited = DetectRequest { max_faces: 3, ..request(300, 200) };
    assert_eq!(detector.detect(&pixels, &limited).unwrap(), &all[..3]);
    let nothing = DetectRequest { thresholds: [0.6, 0.7, 0.99], ..request(300, 200) };
    assert_eq!(detector.detect(&pixels, &nothing).unwrap(), []);
}

#[test]
fn networks_that_answer_no_numbers_find_no_faces() {
    fn no_numbers(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        Ok(vec![repeated(&[f32::NAN; 4], cells(dimensions)), repeated(&[f32::NAN; 2], cells(dimensions))])
    }
    fn absurd_offsets(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        let offsets = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY, 1e38];
        Ok(vec![repeated(&offsets, cells(dimensions)), repeated(&[0.0, f32::INFINITY], cells(dimensions))])
    }
    fn huge_offsets(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        Ok(vec![repeated(&[-1e9, -1e9, 1e9, 1e9], dimensions[0]), repeated(&[0.0, 1.0], dimensions[0])])
    }
    fn no_landmarks(dimensions: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        let count = dimensions[0];
        Ok(vec![repeated(&[0.0; 4], count), repeated(&[f32::NAN; 10], count), repeated(&[0.0, 1.0], count)])
    }
    assert_eq!(detect([every_cell, refine, no_landmarks], 50, 60).unwrap(), []);
    assert_eq!(detect([no_numbers, never, never], 50, 60).unwrap(), []);
    assert_eq!(detect([absurd_offsets, never, never], 50, 60).unwrap(), []);
    assert_eq!(detect([every_cell, huge_offsets, never], 50, 60).unwrap(), []);
}

#[test]
fn models_of_other_shapes_are_failures() {
    fn short(_: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        Ok(vec![vec![0; 4]; 3])
    }
    fn long(_: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        Ok(vec![vec![0; 1 << 20]; 3])
    }
    fn lacking(_: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        Ok(Vec::new())
    }
    for absurd in [short, long] {
        for networks in [[absurd, never, never], [every_cell, absurd, never], [every_cell, refine, absurd]] {
            assert_eq!(detect(networks, 50, 60).unwrap_err().status, Status::Other);
        }
    }
    let failure = detect([every_cell, lacking, never], 50, 60).unwrap_err();
    assert_eq!((failure.status, failure.errno, failure.subject), (Status::Network, 1, "rnet"));
}

#[test]
fn a_failing_network_gives_its_errno() {
    fn broken(_: &[u32], _: &[u8]) -> Result<Vec<Vec<u8>>, u32> {
        Err(5)
    }
    let failure = detect([every_cell, refine, broken], 50, 60).unwrap_err();
    assert_eq!((failure.status, failure.errno, failure.subject), (Status::Network, 5, "onet"));
    assert_eq!(fake::contexts().0, 0);
}

#[test]
fn contexts_are_used_again_and_bounded() {
    fake::serve(&[("pnet", no_cell), ("rnet", never), ("onet", never)]);
    let mut detector = Detector::load().unwrap();
    let mut look = |side: usize| {
        let pixels = vec![0; side * side * 3];
        assert_eq!(detector.detect(&pixels, &request(side, side)).unwrap(), []);
        fake::contexts()
    };
    let first = look(100);
    assert_eq!(look(100), first);
    for side in 100..160 {
        assert!(look(side).0 <= 24);
    }
}
