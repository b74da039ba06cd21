use super::*;
use crate::mtcnn::boxes::Bounds;

fn candidate(x1: f32, y1: f32, x2: f32, y2: f32, score: f32) -> Candidate {
    Candidate { bounds: Bounds { x1, y1, x2, y2 }, score, offsets: [0.0; 4] }
}

fn suppressed(list: &[Candidate], overlap: Overlap, threshold: f32) -> Vec<Candidate> {
    let mut kept = Vec::new();
    Suppression::default().boxes(list, overlap, threshold, &mut kept).unwrap();
    kept
}

fn scores(candidates: &[Candidate]) -> Vec<f32> {
    candidates.iter().map(|candidate| candidate.score).collect()
}

#[test]
fn the_better_of_two_overlapping_boxes_stays() {
    // They share 80 of 120.
    let pair = [candidate(0.0, 0.0, 10.0, 10.0, 0.8), candidate(2.0, 0.0, 12.0, 10.0, 0.9)];
    let list = suppressed(&pair, Overlap::Union, 0.6);
    assert_eq!(scores(&list), [0.9]);
    let list = suppressed(&pair, Overlap::Union, 0.7);
    assert_eq!(scores(&list), [0.9, 0.8]);
}

#[test]
fn a_box_inside_another_is_covered_by_the_minimum() {
    let pair = [candidate(0.0, 0.0, 100.0, 100.0, 0.9), candidate(10.0, 10.0, 20.0, 20.0, 0.8)];
    let list = suppressed(&pair, Overlap::Minimum, 0.7);
    assert_eq!(scores(&list), [0.9]);
    let list = suppressed(&pair, Overlap::Union, 0.7);
    assert_eq!(list.len(), 2);
}

#[test]
fn a_suppressed_box_suppresses_nothing() {
    let list: Vec<Candidate> = (0..3)
        .map(|step| candidate(step as f32 * 3.0, 0.0, 10.0 + step as f32 * 3.0, 10.0, 0.9 - step as f32 * 0.1))
        .collect();
    let list = suppressed(&list, Overlap::Union, 0.5);
    assert_eq!(list.iter().map(|candidate| candidate.bounds.x1).collect::<Vec<_>>(), [0.0, 6.0]);
}

#[test]
fn an_empty_list_stays_empty() {
    assert!(suppressed(&[], Overlap::Union, 0.5).is_empty());
    Suppression::default().cells(&[], (0, 0), |_| panic!("there is no cell")).unwrap();
}

#[test]
fn cells_are_suppressed_as_their_windows_would_be() {
    let (width, height) = (23, 17);
    let mut seed = 1u32;
    let mut cells = Vec::new();
    for y in 0..height {
        for x in 0..width {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if seed >> 30 != 0 {
                let score = (seed >> 8 & 0xffff) as f32 / 65536.0;
                cells.push(Cell { x, y, score, offsets: [0.0; 4] });
            }
        }
    }
    let window = |cell: &Cell| {
        let (x, y) = (cell.x as f32 * 2.0, cell.y as f32 * 2.0);
        candidate(x, y, x + 12.0, y + 12.0, cell.score)
    };
    let windows: Vec<Candidate> = cells.iter().map(window).collect();
    let windows = suppressed(&windows, Overlap::Union, 0.5);
    let mut kept = Vec::new();
    let keep = |cell: &Cell| push(&mut kept, window(cell));
    Suppression::default().cells(&cells, (width as usize, height as usize), keep).unwrap();
    assert_eq!(kept, windows);
    assert!(windows.len() > 20);
}
