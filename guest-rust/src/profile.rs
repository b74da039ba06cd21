//! Marks between the stages of a task: nothing at all, unless built with `--features profile` for benchmarks/stages.py.

/// What the guest's time goes to from here on.
#[derive(Clone, Copy)]
pub(crate) enum Stage {
    /// Whatever has no name here.
    Other,
    /// Images into other sizes: the pyramid, a classifier's input.
    Resize,
    /// Pixels of the pyramid into P-Net's input.
    Fill,
    /// The likely cells of P-Net's map.
    Scan,
    /// Crops into the input of R-Net and O-Net.
    Crop,
    /// Non-maximum suppression.
    Suppress,
}

/// Begins a stage.
#[inline(always)]
pub(crate) fn begin(stage: Stage) {
    #[cfg(all(feature = "profile", target_arch = "wasm32", not(test)))]
    crate::host::mark(stage as u32);
    let _ = stage;
}
