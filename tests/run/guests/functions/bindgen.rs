//! Functions as wasm-bindgen 0.2.61 exports them; with `--cfg stack` as later versions do, whose results lie on the stack.

use std::mem::{forget, ManuallyDrop};

fn buffer(size: usize) -> *mut u8 {
    ManuallyDrop::new(Vec::with_capacity(size.max(1))).as_mut_ptr()
}

#[cfg(not(aligned))]
#[no_mangle]
pub extern "C" fn __wbindgen_malloc(size: usize) -> *mut u8 {
    buffer(size)
}

#[cfg(not(aligned))]
#[no_mangle]
pub unsafe extern "C" fn __wbindgen_free(pointer: *mut u8, size: usize) {
    drop(Vec::from_raw_parts(pointer, size, size));
}

#[cfg(aligned)]
#[no_mangle]
pub extern "C" fn __wbindgen_malloc(size: usize, align: usize) -> *mut u8 {
    assert_eq!(align, 1);
    buffer(size)
}

#[cfg(aligned)]
#[no_mangle]
pub unsafe extern "C" fn __wbindgen_free(pointer: *mut u8, size: usize, align: usize) {
    assert_eq!(align, 1);
    drop(Vec::from_raw_parts(pointer, size, size));
}

/// In place of the real stack: 64 bytes that are given out from above, as a stack is.
#[cfg(stack)]
static mut STACK: ([u64; 8], usize) = ([0; 8], 64);

#[cfg(stack)]
#[no_mangle]
pub unsafe extern "C" fn __wbindgen_add_to_stack_pointer(delta: i32) -> *mut u8 {
    STACK.1 = (STACK.1 as i32 + delta) as usize;
    assert!(STACK.1 <= 64, "more is given back than was taken");
    STACK.0.as_mut_ptr().cast::<u8>().add(STACK.1)
}

unsafe fn take(pointer: *mut u8, length: usize) -> Vec<u8> {
    Vec::from_raw_parts(pointer, length, length)
}

unsafe fn text(pointer: *mut u8, length: usize) -> String {
    String::from_utf8(take(pointer, length)).expect("UTF-8")
}

unsafe fn give(place: *mut u32, data: impl Into<Vec<u8>>) {
    let data = data.into().into_boxed_slice();
    *place = data.as_ptr() as u32;
    *place.add(1) = data.len() as u32;
    forget(data);
}

#[no_mangle]
pub unsafe extern "C" fn say(place: *mut u32, name: *mut u8, length: usize) {
    give(place, format!("hello {}", text(name, length)));
}

#[no_mangle]
pub unsafe extern "C" fn chatty(place: *mut u32, name: *mut u8, length: usize) {
    println!("printed, not answered");
    give(place, text(name, length));
}

#[no_mangle]
pub unsafe extern "C" fn invert(place: *mut u32, data: *mut u8, length: usize) {
    give(place, take(data, length).into_iter().map(|byte| !byte).collect::<Vec<u8>>());
}

#[no_mangle]
pub unsafe extern "C" fn join(
    place: *mut u32, first: *mut u8, length: usize, second: *mut u8, length2: usize, third: *mut u8, length3: usize,
) {
    let parts = [take(first, length), take(second, length2), take(third, length3)];
    give(place, parts.map(|part| part.len().to_string()).join(" "));
}

#[no_mangle]
pub unsafe extern "C" fn repeat(place: *mut u32, count: u32, name: *mut u8, length: usize) {
    give(place, text(name, length).repeat(count as usize));
}

#[no_mangle]
pub extern "C" fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(b)
}

#[no_mangle]
pub unsafe extern "C" fn length(data: *mut u8, length: usize) -> i32 {
    take(data, length).len() as i32
}

#[no_mangle]
pub extern "C" fn half(value: f64) -> f64 {
    value / 2.0
}

#[no_mangle]
pub unsafe extern "C" fn next(place: *mut u64, low: u32, high: u32) {
    *place = (u64::from(high) << 32 | u64::from(low)).wrapping_add(1);
}

#[no_mangle]
pub unsafe extern "C" fn swallow(data: *mut u8, length: usize) {
    take(data, length);
}

#[no_mangle]
pub extern "C" fn fail() {
    panic!("my own words");
}

#[no_mangle]
pub extern "C" fn leave() {
    std::process::exit(3);
}
