//! The border of the sandbox: exports, imports and raw memory. Every pointer is turned into a slice here, once.
//!
//! Soundness rests on the ABI's promises: the host makes one call at a time and calls nothing from inside an import,
//! and it hands over blocks that stay untouched while a call runs. Offsets are checked against the memory all the same.

#![allow(unsafe_code)]

use std::alloc::{alloc, dealloc, Layout};
use std::cell::UnsafeCell;

use crate::classify::{Class, Classifier};
use crate::failure::Failure;
use crate::mtcnn::{Detector, Face};
use crate::request::{ClassifyRequest, DetectRequest, Pixels, CLASSIFY_BYTES, DETECT_BYTES};

const ABI_VERSION: i32 = 1;
const ALIGNMENT: usize = 16;
/// Bit 0: classify requests of 148 bytes are understood.
const FEATURES: i32 = 1;

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
    let bytes = ClassifyRequest::bytes(guest_bytes(request, CLASSIFY_BYTES, "the request")?);
    let request = ClassifyRequest::parse(guest_bytes(request, bytes, "the request")?)?;
    let pixels = guest_pixels(&request.pixels)?;
    let classifier = match state {
        Some(classifier) => classifier,
        None => state.insert(Classifier::load()?),
    };
    let (classes, softmax) = classifier.classify(pixels, &request)?;
    Ok((classes.as_ptr() as u32, classes.len() as u32, u32::from(softmax)))
}

fn detect_faces(state: &mut Option<Detector>, request: u32) -> Outcome {
    let request = DetectRequest::parse(guest_bytes(request, DETECT_BYTES, "the request")?)?;
    let pixels = guest_pixels(&request.pixels)?;
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

fn guest_pixels(pixels: &Pixels) -> Result<&'static [u8], Failure> {
    guest_bytes(pixels.pointer, pixels.bytes, "the image")
}

/// Bytes that the host placed in guest memory. `'static` stands for the duration of one call.
fn guest_bytes(pointer: u32, length: usize, name: &'static str) -> Result<&'static [u8], Failure> {
    let inside = (pointer as usize).checked_add(length).map_or(false, |end| end <= memory_bytes());
    if pointer == 0 || !inside {
        return Err(Failure::bad_request(name, "lies outside the guest's memory"));
    }
    // SAFETY: the range lies in memory, which never shrinks; nothing writes to it before the call ends.
    Ok(unsafe { std::slice::from_raw_parts(pointer as usize as *const u8, length) })
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

/// The bytes of a tensor of numbers, to be written.
pub fn bytes_of_mut(numbers: &mut [f32]) -> &mut [u8] {
    // SAFETY: every f32 is four initialised bytes, any four bytes are an f32, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts_mut(numbers.as_mut_ptr().cast(), std::mem::size_of_val(numbers)) }
}

/// The imports, as safe functions; `Err` and non-zero results are errnos.
#[cfg(target_arch = "wasm32")]
pub mod host {
    use crate::nn::TensorType;

    /// The tensor record of wasi-nn's witx dialect.
    #[repr(C)]
    struct Tensor {
        dimensions: *const u32,
        dimension_count: usize,
        kind: u32,
        data: *const u8,
        data_length: usize,
    }

    mod raw {
        #[link(wasm_import_module = "wasi_ephemeral_nn")]
        extern "C" {
            pub fn load_by_name(name: *const u8, length: usize, graph: *mut u32) -> u32;
            pub fn init_execution_context(graph: u32, context: *mut u32) -> u32;
            pub(super) fn set_input(context: u32, index: u32, tensor: *const super::Tensor) -> u32;
            pub fn compute(context: u32) -> u32;
            pub fn get_output(context: u32, index: u32, buffer: *mut u8, size: usize, written: *mut usize) -> u32;
            pub fn finalize_execution_context(context: u32) -> u32;
        }
    }

    #[cfg(feature = "profile")]
    pub fn mark(stage: u32) {
        #[link(wasm_import_module = "aicli_profile")]
        extern "C" {
            fn mark(stage: u32) -> u32;
        }
        unsafe { mark(stage) };
    }

    fn result<T>(errno: u32, value: T) -> Result<T, u32> {
        if errno == 0 {
            Ok(value)
        } else {
            Err(errno)
        }
    }

    pub fn load_by_name(name: &str) -> Result<u32, u32> {
        let mut graph = 0;
        // SAFETY: the host reads `name` and writes one u32; likewise below.
        let errno = unsafe { raw::load_by_name(name.as_ptr(), name.len(), &mut graph) };
        result(errno, graph)
    }

    pub fn init_execution_context(graph: u32) -> Result<u32, u32> {
        let mut context = 0;
        let errno = unsafe { raw::init_execution_context(graph, &mut context) };
        result(errno, context)
    }

    pub fn set_input(context: u32, index: u32, dimensions: &[u32], kind: TensorType, data: &[u8]) -> u32 {
        let tensor = Tensor {
            dimensions: dimensions.as_ptr(),
            dimension_count: dimensions.len(),
            kind: kind as u32,
            data: data.as_ptr(),
            data_length: data.len(),
        };
        unsafe { raw::set_input(context, index, &tensor) }
    }

    pub fn compute(context: u32) -> u32 {
        unsafe { raw::compute(context) }
    }

    pub fn get_output(context: u32, index: u32, buffer: &mut [u8]) -> Result<usize, u32> {
        let mut written = 0;
        let errno = unsafe { raw::get_output(context, index, buffer.as_mut_ptr(), buffer.len(), &mut written) };
        result(errno, written)
    }

    pub fn finalize_execution_context(context: u32) {
        unsafe { raw::finalize_execution_context(context) };
    }
}

/// Natively no host is there: everything is an unsupported operation.
#[cfg(not(any(target_arch = "wasm32", test)))]
pub mod host {
    use crate::nn::TensorType;

    const UNSUPPORTED: u32 = 6;

    pub fn load_by_name(_name: &str) -> Result<u32, u32> {
        Err(UNSUPPORTED)
    }

    pub fn init_execution_context(_graph: u32) -> Result<u32, u32> {
        Err(UNSUPPORTED)
    }

    pub fn set_input(_context: u32, _index: u32, _dimensions: &[u32], _kind: TensorType, _data: &[u8]) -> u32 {
        UNSUPPORTED
    }

    pub fn compute(_context: u32) -> u32 {
        UNSUPPORTED
    }

    pub fn get_output(_context: u32, _index: u32, _buffer: &mut [u8]) -> Result<usize, u32> {
        Err(UNSUPPORTED)
    }

    pub fn finalize_execution_context(_context: u32) {}
}
