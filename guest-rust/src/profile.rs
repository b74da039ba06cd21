//! Marks between the stages of a task, and a count of allocations: nothing at all, unless built with `--features profile`
//! for benchmarks/stages.py and benchmarks/counts.py.

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

/// How often the guest asked for memory, which benchmarks/counts.py reads.
#[cfg(all(feature = "profile", target_arch = "wasm32", not(test)))]
mod allocations {
    #![allow(unsafe_code)]
    #![allow(unreachable_pub)] // an export is reached from outside

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Counting;

    static COUNT: AtomicU32 = AtomicU32::new(0);

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;

    // SAFETY: the system's allocator does everything.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            COUNT.fetch_add(1, Ordering::Relaxed);
            // SAFETY: the caller's promises are those of the system's allocator.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            // SAFETY: as above.
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    /// Allocations since the guest began, those that make a block larger among them.
    #[no_mangle]
    pub extern "C" fn aicli_profile_allocations() -> u32 {
        COUNT.load(Ordering::Relaxed)
    }
}
