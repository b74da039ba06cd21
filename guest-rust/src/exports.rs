//! What the host calls: the exports, and raw memory. Every pointer is turned into a slice here, once.
//!
//! Soundness rests on the ABI's promises: the host makes one call at a time and calls nothing from inside an import,
//! and it hands over blocks that stay untouched while a call runs. Offsets are checked against the memory all the same.

#![allow(unsafe_code)]
#![allow(unreachable_pub)] // an export is reached from outside

use std::alloc::{alloc, dealloc, Layout};
use std::cell::UnsafeCell;

use crate::classify::{Class, Classifier};
use crate::failure::Failure;
use crate::mtcnn::{Detector, Face};
use crate::request::{ClassifyRequest, DetectRequest, Pixels, CLASSIFY_BYTES, DETECT_BYTES};

const ABI_VERSION: i32 = 1;
const ALIGNMENT: usize = 16;
/// Bit 0: classify requests of 148 bytes are understood; bit 1: detect requests whose networks take bytes.
const FEATURES: i32 = 0b11;

/// A result record, as the ABI lays it out.
#[repr(C)]
struct Answer {
    status: u32,
    count: u32,
    records: u32,
    message: u32,
    message_length: u32,
    flags: u32,
}

/// Everything that lives from call to call.
struct Instance {
    answer: Answer,
    message: [u8; 160],
    classifier: Option<Classifier>,
    detector: Option<Detector>,
}

struct Shared(UnsafeCell<Instance>);

// SAFETY: the guest has one thread.
unsafe impl Sync for Shared {}

static INSTANCE: Shared = Shared(UnsafeCell::new(Instance {
    answer: Answer { status: 0, count: 0, records: 0, message: 0, message_length: 0, flags: 0 },
    message: [0; 160],
    classifier: None,
    detector: None,
}));

/// The version of docs/guest-abi.md that this guest speaks.
#[no_mangle]
pub extern "C" fn aicli_abi_version() -> i32 {
    ABI_VERSION
}

/// What this guest knows beyond the least of its ABI version.
#[no_mangle]
pub extern "C" fn aicli_features() -> i32 {
    FEATURES
}

/// Reserves `size` bytes, aligned to 16; 0 when there is no memory.
#[no_mangle]
pub extern "C" fn aicli_alloc(size: u32) -> *mut u8 {
    match Layout::from_size_align(size.max(1) as usize, ALIGNMENT) {
        // SAFETY: the size is not 0.
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// Gives back a block of `aicli_alloc(size)`.
///
/// # Safety
/// `pointer` came from `aicli_alloc(size)` and was not given back yet; 0 is ignored.
#[no_mangle]
pub unsafe extern "C" fn aicli_dealloc(pointer: *mut u8, size: u32) {
    if let (false, Ok(layout)) = (pointer.is_null(), Layout::from_size_align(size.max(1) as usize, ALIGNMENT)) {
        unsafe { dealloc(pointer, layout) }
    }
}

/// Classifies one image: from a pointer to a classify request to a pointer to a result.
///
/// # Safety
/// No other call runs, and the blocks behind the request are not written meanwhile.
#[no_mangle]
pub unsafe extern "C" fn aicli_classify(request: u32) -> u32 {
    let instance = unsafe { &mut *INSTANCE.0.get() };
    let outcome = classify(&mut instance.classifier, request);
    publish(&mut instance.answer, &mut instance.message, outcome)
}

/// Finds faces in one image: from a pointer to a detect request to a pointer to a result.
///
/// # Safety
/// No other call runs, and the blocks behind the request are not written meanwhile.
#[no_mangle]
pub unsafe extern "C" fn aicli_detect_faces(request: u32) -> u32 {
    let instance = unsafe { &mut *INSTANCE.0.get() };
    let outcome = detect_faces(&mut instance.detector, request);
    publish(&mut instance.answer, &mut instance.message, outcome)
}

/// Records of a result (pointer, count) and its flags.
type Outcome = Result<(u32, u32, u32), Failure>;

fn classify(state: &mut Option<Classifier>, request: u32) -> Outcome {
    let call = Call;
    let bytes = ClassifyRequest::bytes(call.bytes(request, CLASSIFY_BYTES, "the request")?);
    let request = ClassifyRequest::parse(call.bytes(request, bytes, "the request")?)?;
    let pixels = call.pixels(&request.pixels)?;
    let classifier = match state {
        Some(classifier) => classifier,
        None => state.insert(Classifier::load()?),
    };
    let (classes, softmax) = classifier.classify(pixels, &request)?;
    Ok((classes.as_ptr() as u32, classes.len() as u32, u32::from(softmax)))
}

fn detect_faces(state: &mut Option<Detector>, request: u32) -> Outcome {
    let call = Call;
    let request = DetectRequest::parse(call.bytes(request, DETECT_BYTES, "the request")?)?;
    let pixels = call.pixels(&request.pixels)?;
    let detector = match state {
        Some(detector) => detector,
        None => state.insert(Detector::load()?),
    };
    let faces = detector.detect(pixels, &request)?;
    Ok((faces.as_ptr() as u32, faces.len() as u32, 0))
}

fn publish(answer: &mut Answer, message: &mut [u8], outcome: Outcome) -> u32 {
    *answer = match outcome {
        Ok((records, count, flags)) => Answer { status: 0, count, records, message: 0, message_length: 0, flags },
        Err(failure) => Answer {
            status: failure.status as u32,
            count: 0,
            records: 0,
            message_length: failure.write(message) as u32,
            message: message.as_ptr() as u32,
            flags: failure.errno,
        },
    };
    answer as *const Answer as u32
}

/// One call of an export: as long as it lasts, the blocks that the host handed over stay as they are.
struct Call;

impl Call {
    fn pixels(&self, pixels: &Pixels) -> Result<&[u8], Failure> {
        self.bytes(pixels.pointer, pixels.bytes, "the image")
    }

    /// Bytes that the host placed in guest memory.
    fn bytes(&self, pointer: u32, length: usize, name: &'static str) -> Result<&[u8], Failure> {
        let inside = (pointer as usize).checked_add(length).map_or(false, |end| end <= memory_bytes());
        if pointer == 0 || !inside {
            return Err(Failure::bad_request(name, "lies outside the guest's memory"));
        }
        // SAFETY: the range lies in memory, which never shrinks; nothing writes to it before the call ends.
        Ok(unsafe { std::slice::from_raw_parts(pointer as usize as *const u8, length) })
    }
}

#[cfg(target_arch = "wasm32")]
fn memory_bytes() -> usize {
    core::arch::wasm32::memory_size::<0>().saturating_mul(65536)
}

/// Natively there is no guest memory: no offset is valid.
#[cfg(not(target_arch = "wasm32"))]
fn memory_bytes() -> usize {
    0
}

const _: () = {
    assert!(std::mem::size_of::<Answer>() == 24);
    assert!(std::mem::size_of::<Class>() == 8);
    assert!(std::mem::size_of::<Face>() == 60);
};
