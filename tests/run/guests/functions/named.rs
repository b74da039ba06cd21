//! A function of wasm-bindgen that loads a model by name, twice, and says how many values its output has.

use std::mem::{forget, ManuallyDrop};

#[link(wasm_import_module = "wasi_ephemeral_nn")]
extern "C" {
    fn load_by_name(name: *const u8, length: usize, graph: *mut u32) -> u32;
    fn init_execution_context(graph: u32, context: *mut u32) -> u32;
    fn compute(context: u32) -> u32;
    fn get_output(context: u32, index: u32, buffer: *mut u8, size: usize, written: *mut u32) -> u32;
}

#[no_mangle]
pub extern "C" fn __wbindgen_malloc(size: usize) -> *mut u8 {
    ManuallyDrop::new(Vec::with_capacity(size.max(1))).as_mut_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn __wbindgen_free(pointer: *mut u8, size: usize) {
    drop(Vec::from_raw_parts(pointer, size, size));
}

#[no_mangle]
pub unsafe extern "C" fn outputs(place: *mut u32, name: *mut u8, length: usize) {
    let name = Vec::from_raw_parts(name, length, length);
    let (mut graph, mut again, mut context, mut written) = (0, 0, 0, 0);
    let loaded = load_by_name(name.as_ptr(), name.len(), &mut graph);
    load_by_name(name.as_ptr(), name.len(), &mut again);
    init_execution_context(graph, &mut context);
    let computed = compute(context);
    get_output(context, 0, [0u8; 4].as_mut_ptr(), 4, &mut written);
    let answer = format!("{loaded} {} {computed} {written}", graph == again).into_boxed_str();
    *place = answer.as_ptr() as u32;
    *place.add(1) = answer.len() as u32;
    forget(answer);
}
