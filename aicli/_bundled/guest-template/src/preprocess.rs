//! From the photo to the model's input: the part that makes this guest yours.

use crate::abi::Request;

/// The colour (red, green, blue; 0 to 255) of every pixel of the model's input, rows from top to bottom.
///
/// This one takes the largest centred rectangle of the photo that has the shape of the model's input. Each pixel of the
/// input is the mean of the photo's pixels that lie below it.
pub fn preprocess(pixels: &[u8], request: &Request) -> Vec<[f32; 3]> {
    let (width, height) = (request.width, request.height);
    let (columns, rows) = (request.input_width, request.input_height);
    // The rectangle columns:rows that just fits into the photo, and where it begins.
    let scale = (width as f32 / columns as f32).min(height as f32 / rows as f32);
    let left = (width as f32 - columns as f32 * scale) / 2.0;
    let top = (height as f32 - rows as f32 * scale) / 2.0;

    let mut out = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        let (y0, y1) = span(top + row as f32 * scale, scale, height);
        for column in 0..columns {
            let (x0, x1) = span(left + column as f32 * scale, scale, width);
            out.push(mean(pixels, width, x0..x1, y0..y1));
        }
    }
    out
}

/// The photo's pixels from `start` on for `length`: at least one, none outside.
fn span(start: f32, length: f32, size: usize) -> (usize, usize) {
    let first = (start.round() as usize).min(size - 1);
    let end = ((start + length).round() as usize).min(size).max(first + 1);
    (first, end)
}

fn mean(pixels: &[u8], width: usize, xs: std::ops::Range<usize>, ys: std::ops::Range<usize>) -> [f32; 3] {
    let count = (xs.len() * ys.len()) as f32;
    let mut sum = [0u32; 3];
    for y in ys {
        for pixel in pixels[(y * width + xs.start) * 3..(y * width + xs.end) * 3].chunks_exact(3) {
            for channel in 0..3 {
                sum[channel] += u32::from(pixel[channel]);
            }
        }
    }
    sum.map(|channel| channel as f32 / count)
}
