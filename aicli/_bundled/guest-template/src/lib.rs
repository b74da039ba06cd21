//! A guest for aicli that classifies photos. See README.md.

mod abi;
mod preprocess;

use abi::{Element, Record, Request};

/// Classifies one photo; `Err` is shown to the user.
fn classify(pixels: &[u8], request: &Request) -> Result<Vec<Record>, String> {
    let tensor = normalise(&preprocess::preprocess(pixels, request), request);
    let scores = abi::run_model(&tensor, request)?;
    Ok(best(&probabilities(scores, request), request))
}

/// The bytes of the input tensor `[1, height, width, 3]`.
fn normalise(colours: &[[f32; 3]], request: &Request) -> Vec<u8> {
    let mut tensor = Vec::with_capacity(colours.len() * 12);
    for colour in colours {
        for channel in 0..3 {
            // The mean and std are those of the model's channels, which may be blue, green, red.
            let value = if request.bgr { colour[2 - channel] } else { colour[channel] };
            let real = (value - request.mean[channel]) / request.std[channel];
            match request.input {
                Element::F32 => tensor.extend_from_slice(&real.to_le_bytes()),
                Element::U8(q) => tensor.push(q.quantise(real).clamp(0, 255) as u8),
                Element::I8(q) => tensor.push(q.quantise(real).clamp(-128, 127) as i8 as u8),
            }
        }
    }
    tensor
}

/// The scores as probabilities: with a softmax where the model has none.
fn probabilities(mut scores: Vec<f32>, request: &Request) -> Vec<f32> {
    let between = scores.iter().all(|score| (-1e-4..=1.0001).contains(score));
    if request.output_kind == 1 || (request.output_kind == 0 && between) {
        return scores;
    }
    let highest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for score in &mut scores {
        *score = (*score - highest).exp();
        sum += *score;
    }
    scores.iter().map(|score| score / sum).collect()
}

/// The best classes first, as many as were asked for.
fn best(scores: &[f32], request: &Request) -> Vec<Record> {
    let mut records: Vec<Record> = (0..).zip(scores).map(|(index, &score)| Record { index, score }).collect();
    records.retain(|record| record.score >= request.min_score);
    // A stable sort: equal scores stay in the order of their index.
    records.sort_by(|a, b| b.score.total_cmp(&a.score));
    records.truncate(request.top_k);
    records
}
