//! The border of the sandbox: exports, imports and raw memory, as aicli's docs/guest-abi.md lays them out.
//!
//! The host makes one call at a time, and the blocks that it hands over stay untouched while a call runs.

use std::alloc::Layout;
use std::cell::UnsafeCell;

/// How a quantised number means a real one: `real = (q - zero_point) * scale`.
#[derive(Clone, Copy)]
pub struct Quantisation {
    pub scale: f32,
    pub zero_point: i32,
}

impl Quantisation {
    /// Not yet clamped to the type.
    pub fn quantise(self, real: f32) -> i32 {
        (real / self.scale).round() as i32 + self.zero_point
    }

    fn real(self, q: i32) -> f32 {
        (q - self.zero_point) as f32 * self.scale
    }
}

/// The numbers that a tensor consists of.
#[derive(Clone, Copy)]
pub enum Element {
    F32,
    U8(Quantisation),
    I8(Quantisation),
}

impl Element {
    /// The witx dialect's number of the type; signed bytes travel as unsigned ones.
    fn tensor_type(self) -> u32 {
        match self {
            Element::F32 => 1,
            Element::U8(_) | Element::I8(_) => 3,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Element::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Element::U8(q) => bytes.iter().map(|&b| q.real(i32::from(b))).collect(),
            Element::I8(q) => bytes.iter().map(|&b| q.real(i32::from(b as i8))).collect(),
        }
    }
}

/// A classify request: what the host says about the photo, the model and the wanted answer.
pub struct Request {
    pub width: usize,
    pub height: usize,
    pub top_k: usize,
    pub min_score: f32,
    pub input_width: usize,
    pub input_height: usize,
    pub input: Element,
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub bgr: bool,
    pub output_index: u32,
    pub classes: usize,
    pub output: Element,
    /// 0 unknown, 1 probabilities, 2 logits.
    pub output_kind: u32,
}

const REQUEST_BYTES: usize = 112;

impl Request {
    fn parse(record: &[u8]) -> Result<Request, String> {
        let u32_at = |at: usize| u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let f32_at = |at: usize| f32::from_bits(u32_at(at));
        let element = |kind: usize, scale: usize| {
            let quantisation = Quantisation { scale: f32_at(scale), zero_point: u32_at(scale + 4) as i32 };
            match u32_at(kind) {
                1 => Ok(Element::F32),
                3 => Ok(Element::U8(quantisation)),
                7 => Ok(Element::I8(quantisation)),
                other => Err(format!("this guest knows no tensors of type {}", other)),
            }
        };
        if (u32_at(0) as usize) < REQUEST_BYTES {
            return Err("the request is too short".to_string());
        }
        Ok(Request {
            width: u32_at(8) as usize,
            height: u32_at(12) as usize,
            top_k: if u32_at(16) == 0 { usize::MAX } else { u32_at(16) as usize },
            min_score: f32_at(20),
            input_width: u32_at(24) as usize,
            input_height: u32_at(28) as usize,
            input: element(32, 36)?,
            mean: [f32_at(44), f32_at(48), f32_at(52)],
            std: [f32_at(56), f32_at(60), f32_at(64)],
            bgr: u32_at(68) == 1,
            output_index: u32_at(80),
            classes: u32_at(84) as usize,
            output: element(88, 92)?,
            output_kind: u32_at(100),
        })
    }
}

/// One class of the answer.
#[repr(C)]
pub struct Record {
    pub index: u32,
    pub score: f32,
}

#[repr(C)]
struct Answer {
    status: u32,
    count: u32,
    records: u32,
    message: u32,
    message_length: u32,
    extra: u32,
}

/// What stays valid until the next call: the answer and what it points to, and the model's context once there is one.
struct State {
    answer: Answer,
    records: Vec<Record>,
    message: String,
    context: Option<u32>,
}

struct Shared(UnsafeCell<State>);

// SAFETY: a guest has one thread.
unsafe impl Sync for Shared {}

static STATE: Shared = Shared(UnsafeCell::new(State {
    answer: Answer { status: 0, count: 0, records: 0, message: 0, message_length: 0, extra: 0 },
    records: Vec::new(),
    message: String::new(),
    context: None,
}));

#[no_mangle]
pub extern "C" fn aicli_abi_version() -> i32 {
    1
}

#[no_mangle]
pub extern "C" fn aicli_alloc(size: u32) -> *mut u8 {
    match Layout::from_size_align(size.max(1) as usize, 16) {
        // SAFETY: the size is not 0.
        Ok(layout) => unsafe { std::alloc::alloc(layout) },
        Err(_) => std::ptr::null_mut(),
    }
}

/// # Safety
/// `pointer` came from `aicli_alloc(size)`.
#[no_mangle]
pub unsafe extern "C" fn aicli_dealloc(pointer: *mut u8, size: u32) {
    if let Ok(layout) = Layout::from_size_align(size.max(1) as usize, 16) {
        std::alloc::dealloc(pointer, layout);
    }
}

/// # Safety
/// `request` points to a classify request, whose pixels lie in memory too, and no other call runs.
#[no_mangle]
pub unsafe extern "C" fn aicli_classify(request: u32) -> u32 {
    let record = std::slice::from_raw_parts(request as usize as *const u8, REQUEST_BYTES);
    let outcome = Request::parse(record).and_then(|request| {
        let pointer = u32::from_le_bytes([record[4], record[5], record[6], record[7]]);
        let pixels = std::slice::from_raw_parts(pointer as usize as *const u8, request.width * request.height * 3);
        crate::classify(pixels, &request)
    });
    let state = &mut *STATE.0.get();
    match outcome {
        Ok(records) => {
            state.records = records;
            let (count, at) = (state.records.len() as u32, state.records.as_ptr() as usize as u32);
            state.answer = Answer { status: 0, count, records: at, message: 0, message_length: 0, extra: 0 };
        }
        Err(text) => {
            state.message = text;
            let (length, at) = (state.message.len() as u32, state.message.as_ptr() as usize as u32);
            state.answer = Answer { status: 4, count: 0, records: 0, message: at, message_length: length, extra: 0 };
        }
    }
    &state.answer as *const Answer as usize as u32
}

mod host {
    #[repr(C)]
    pub struct Tensor {
        pub dimensions: *const u32,
        pub rank: usize,
        pub kind: u32,
        pub data: *const u8,
        pub bytes: usize,
    }

    #[link(wasm_import_module = "wasi_ephemeral_nn")]
    extern "C" {
        pub fn load_by_name(name: *const u8, length: usize, graph: *mut u32) -> u32;
        pub fn init_execution_context(graph: u32, context: *mut u32) -> u32;
        pub fn set_input(context: u32, index: u32, tensor: *const Tensor) -> u32;
        pub fn compute(context: u32) -> u32;
        pub fn get_output(context: u32, index: u32, buffer: *mut u8, size: usize, written: *mut usize) -> u32;
    }
}

fn check(step: &str, errno: u32) -> Result<(), String> {
    if errno == 0 {
        Ok(())
    } else {
        Err(format!("{} failed with errno {}", step, errno))
    }
}

/// The interpreter of the host's classifier, made once for the life of the instance.
fn context() -> Result<u32, String> {
    // SAFETY: one thread, and nobody else holds the state while a photo is classified.
    let state = unsafe { &mut *STATE.0.get() };
    if let Some(context) = state.context {
        return Ok(context);
    }
    let (name, mut graph, mut context) = ("classifier", 0, 0);
    // SAFETY: the host reads the name and writes one number; likewise below.
    check("loading the classifier", unsafe { host::load_by_name(name.as_ptr(), name.len(), &mut graph) })?;
    check("making an interpreter", unsafe { host::init_execution_context(graph, &mut context) })?;
    state.context = Some(context);
    Ok(context)
}

/// Runs the host's classifier on an input tensor and gives its scores as real numbers.
pub fn run_model(input: &[u8], request: &Request) -> Result<Vec<f32>, String> {
    let context = context()?;
    let dimensions = [1, request.input_height as u32, request.input_width as u32, 3];
    let tensor = host::Tensor {
        dimensions: dimensions.as_ptr(),
        rank: dimensions.len(),
        kind: request.input.tensor_type(),
        data: input.as_ptr(),
        bytes: input.len(),
    };
    check("giving the model its input", unsafe { host::set_input(context, 0, &tensor) })?;
    check("running the model", unsafe { host::compute(context) })?;
    let size = if matches!(request.output, Element::F32) { 4 } else { 1 };
    let mut output = vec![0; request.classes * size];
    let mut written = 0;
    let errno =
        unsafe { host::get_output(context, request.output_index, output.as_mut_ptr(), output.len(), &mut written) };
    check("reading the model's output", errno)?;
    Ok(request.output.decode(&output))
}
