//! A function of reactr: it greets, and refuses whoever has no name.

use std::mem::ManuallyDrop;

#[link(wasm_import_module = "env")]
extern "C" {
    fn return_result(pointer: *const u8, size: i32, request: i32);
    fn return_error(code: i32, pointer: *const u8, size: i32, request: i32);
}

#[no_mangle]
pub extern "C" fn allocate(size: usize) -> *mut u8 {
    ManuallyDrop::new(Vec::with_capacity(size)).as_mut_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn deallocate(pointer: *mut u8, size: i32) {
    drop(Vec::from_raw_parts(pointer, 0, size as usize));
}

#[no_mangle]
pub unsafe extern "C" fn run_e(pointer: *mut u8, size: usize, request: i32) {
    let name = String::from_utf8(Vec::from_raw_parts(pointer, size, size)).expect("UTF-8");
    println!("printed, not answered");
    if name.is_empty() {
        let error = "nobody is there";
        return return_error(404, error.as_ptr(), error.len() as i32, request);
    }
    let answer = format!("hello {name}");
    return_result(answer.as_ptr(), answer.len() as i32, request);
}
