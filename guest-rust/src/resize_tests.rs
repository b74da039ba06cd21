use super::*;

fn resized(view: View, width: usize, height: usize, filter: Filter) -> Vec<u8> {
    let mut out = vec![0; width * height * 3];
    let sink = |y: usize, row: &[u8]| out[y * width * 3..][..width * 3].copy_from_slice(row);
    Resizer::default().rows_first(view, width, height, filter, sink).unwrap();
    out
}

fn resized_by_columns(view: View, width: usize, height: usize) -> Vec<u8> {
    let mut out = vec![0; width * height * 3];
    Resizer::default().columns_first(view, width, height, &mut out).unwrap();
    out
}

fn grey(values: &[u8]) -> Vec<u8> {
    values.iter().flat_map(|&value| [value; 3]).collect()
}

/// A picture without symmetry, so that swapped axes or channels show.
fn picture(width: usize, height: usize) -> Vec<u8> {
    (0..width * height * 3).map(|at| (at * at / 7 + at % 251) as u8).collect()
}

/// The same resize in floating point, rounded between the passes as Pillow does.
fn reference(pixels: &[u8], size: (usize, usize), target: (usize, usize)) -> Vec<u8> {
    let pass = |source: &[u8], count: usize, from: usize, to: usize, at: &dyn Fn(usize, usize, usize) -> usize| {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let mut out = vec![0u8; count * to * 3];
        for line in 0..count {
            for index in 0..to * 3 {
                let centre = ((index / 3) as f64 + 0.5) * scale;
                let (mut sum, mut total) = (0.0, 0.0);
                for sample in 0..from {
                    let weight = (1.0 - ((sample as f64 + 0.5 - centre) / stretch).abs()).max(0.0);
                    sum += weight * f64::from(source[at(line, sample, from) + index % 3]);
                    total += weight;
                }
                out[at(line, index / 3, to) + index % 3] = (sum / total + 0.5) as u8;
            }
        }
        out
    };
    let across = pass(pixels, size.1, size.0, target.0, &|y, x, width| (y * width + x) * 3);
    pass(&across, target.0, size.1, target.1, &|x, y, _| (y * target.0 + x) * 3)
}

#[test]
fn a_flat_image_stays_flat() {
    let pixels = [[7, 100, 255]; 35].concat();
    for filter in [Filter::Bilinear, Filter::Bicubic] {
        let out = resized(View::whole(&pixels, 5, 7), 11, 3, filter);
        assert_eq!(out, [[7, 100, 255]; 33].concat());
    }
}

#[test]
fn equal_sizes_copy_the_pixels() {
    let pixels = picture(9, 6);
    assert_eq!(resized(View::whole(&pixels, 9, 6), 9, 6, Filter::Bicubic), pixels);
}

#[test]
fn halving_weighs_by_hand() {
    // Weights 3/7, 3/7, 1/7 at the edges and 1/8, 3/8, 3/8, 1/8 inside.
    let pixels = grey(&[0, 70, 140, 210, 40, 80, 120, 160]);
    let out = resized(View::whole(&pixels, 8, 1), 4, 1, Filter::Bilinear);
    assert_eq!(out, grey(&[50, 145, 86, 131]));
    let out = resized(View::whole(&pixels, 1, 8), 1, 4, Filter::Bilinear);
    assert_eq!(out, grey(&[50, 145, 86, 131]));
}

#[test]
fn a_cubic_overshoot_is_cut() {
    let pixels = grey(&[0, 0, 0, 255, 255, 255]);
    let out = resized(View::whole(&pixels, 6, 1), 12, 1, Filter::Bicubic);
    assert_eq!((out[0], out[12], out[21], out[33]), (0, 0, 255, 255));
}

#[test]
fn any_sizes_match_floating_point() {
    let sizes = [(1, 1), (1, 40), (40, 1), (2, 3), (3, 2), (5, 17), (33, 31), (64, 48), (130, 7)];
    for source in sizes {
        let pixels = picture(source.0, source.1);
        for target in sizes {
            let expected = reference(&pixels, source, target);
            let view = View::whole(&pixels, source.0, source.1);
            let worst = |out: &[u8]| out.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max();
            let rows = worst(&resized(view, target.0, target.1, Filter::Bilinear));
            let columns = worst(&resized_by_columns(view, target.0, target.1));
            assert!(rows <= Some(1) && columns <= Some(2), "{source:?} -> {target:?}: {rows:?}, {columns:?}");
        }
    }
}

#[test]
fn a_crop_is_resized_as_if_cut_out() {
    let pixels = picture(20, 10);
    let mut cut = Vec::new();
    for y in 2..9 {
        cut.extend_from_slice(&pixels[(y * 20 + 3) * 3..(y * 20 + 20) * 3]);
    }
    let view = View::whole(&pixels, 20, 10).crop(3, 2, 17, 7);
    let expected = resized(View::whole(&cut, 17, 7), 8, 5, Filter::Bilinear);
    assert_eq!(resized(view, 8, 5, Filter::Bilinear), expected);
}

#[test]
fn beyond_the_border_is_black() {
    let pixels = picture(4, 4);
    let mut padded = vec![0; 8 * 8 * 3];
    for y in 0..4 {
        padded[((y + 3) * 8 + 2) * 3..][..12].copy_from_slice(&pixels[y * 12..][..12]);
    }
    let view = View::whole(&pixels, 4, 4).crop(-2, -3, 8, 8);
    for side in [1, 2, 5, 8, 20] {
        let expected = resized_by_columns(View::whole(&padded, 8, 8), side, side);
        assert_eq!(resized_by_columns(view, side, side), expected);
    }
    assert_eq!(resized_by_columns(view.crop(100, 100, 3, 3), 2, 2), [0; 12]);
    assert_eq!(resized_by_columns(view.crop(-9, 1, 3, 3), 2, 2), [0; 12]);
}

#[test]
fn beyond_the_border_of_a_photo_is_black() {
    let pixels = picture(40, 30);
    let mut padded = vec![0; 70 * 80 * 3];
    for y in 0..30 {
        padded[((y + 25) * 70 + 13) * 3..][..120].copy_from_slice(&pixels[y * 120..][..120]);
    }
    for (left, top, width, height) in [(0, 0, 70, 80), (0, 20, 60, 33), (15, 0, 30, 80), (20, 30, 50, 50)] {
        let view = View::whole(&pixels, 40, 30).crop(left - 13, top - 25, width, height);
        let whole = View::whole(&padded, 70, 80).crop(left, top, width, height);
        for side in [24, 48, 70] {
            assert_eq!(
                resized_by_columns(view, side, side),
                resized_by_columns(whole, side, side),
                "{left} {top} {side}"
            );
        }
    }
}

#[test]
fn one_resizer_serves_many_sizes() {
    let pixels = picture(70, 50);
    let mut resizer = Resizer::default();
    for (width, height) in [(24, 24), (48, 48), (3, 90), (24, 24)] {
        let mut out = Vec::new();
        let view = View::whole(&pixels, 70, 50);
        resizer.rows_first(view, width, height, Filter::Bilinear, |_, row| out.extend_from_slice(row)).unwrap();
        assert_eq!(out, resized(view, width, height, Filter::Bilinear));
    }
}
