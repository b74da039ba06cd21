//! Functions as wasmedge_bindgen exports them. `--cfg env` and `--cfg named` are its generations of 2021 and 2022, which
//! hand their results to the host (`--cfg records` with their types, as the last of them did); else 0.4 and later.

use std::mem::{forget, ManuallyDrop};

#[no_mangle]
pub extern "C" fn allocate(size: usize) -> *mut u8 {
    ManuallyDrop::new(Vec::with_capacity(size)).as_mut_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn deallocate(pointer: *mut u8, size: i32) {
    drop(Vec::from_raw_parts(pointer, 0, size as usize));
}

#[cfg_attr(env, link(wasm_import_module = "env"))]
#[cfg_attr(named, link(wasm_import_module = "wasmedge-bindgen"))]
#[cfg(any(env, named))]
extern "C" {
    fn return_result(pointer: *const u8, size: i32);
    fn return_error(pointer: *const u8, size: i32);
}

/// A result with the number of its type.
struct Typed(u32, Vec<u8>);

/// The arguments of one call.
struct Frame(Vec<(*mut u8, usize)>);

impl Frame {
    unsafe fn new(frame: *mut u32, count: i32) -> Frame {
        let words = Vec::from_raw_parts(frame, 2 * count as usize, 2 * count as usize);
        Frame(words.chunks(2).map(|pair| (pair[0] as *mut u8, pair[1] as usize)).collect())
    }

    fn bytes(&self, index: usize) -> Vec<u8> {
        let (pointer, length) = self.0[index];
        unsafe { Vec::from_raw_parts(pointer, length, length) }
    }

    fn text(&self, index: usize) -> String {
        String::from_utf8(self.bytes(index)).expect("UTF-8")
    }

    fn number<T: Copy>(&self, index: usize) -> T {
        assert_eq!(self.0[index].1, 1, "a scalar has the length 1");
        unsafe { self.0[index].0.cast::<T>().read_unaligned() }
    }
}

fn text(value: impl ToString) -> Typed {
    Typed(31, value.to_string().into_bytes())
}

#[cfg(not(any(env, named)))]
fn kept(data: Vec<u8>) -> (*const u8, usize) {
    let data = ManuallyDrop::new(data);
    (data.as_ptr(), data.len())
}

fn records(values: Vec<Typed>) -> (*const u8, usize) {
    let count = values.len();
    let mut words = Vec::new();
    for Typed(kind, data) in values {
        words.extend([data.as_ptr() as u32, kind, data.len() as u32]);
        forget(data);
    }
    (ManuallyDrop::new(words).as_ptr().cast(), count)
}

macro_rules! export {
    ($name:ident, $count:literal, $body:expr) => {
        #[cfg(not(any(env, named)))]
        #[no_mangle]
        pub unsafe extern "C" fn $name(frame: *mut u32, count: i32) -> *const u8 {
            let result: Result<Vec<Typed>, String> = if count == $count {
                $body(Frame::new(frame, count))
            } else {
                Err(format!("Invalid params count, expect {}, got {}", $count, count))
            };
            let (flag, (pointer, length)) = match result {
                Ok(values) => (0u8, records(values)),
                Err(error) => (1, kept(error.into_bytes())),
            };
            let mut answer = vec![flag];
            answer.extend((pointer as u32).to_le_bytes());
            answer.extend((length as u32).to_le_bytes());
            ManuallyDrop::new(answer).as_ptr()
        }

        #[cfg(any(env, named))]
        #[no_mangle]
        pub unsafe extern "C" fn $name(frame: *mut u32, count: i32) {
            if count != $count {
                let error = format!("Invalid params count, expect {}, got {}", $count, count);
                return return_error(error.as_ptr(), error.len() as i32);
            }
            match $body(Frame::new(frame, count)) {
                Ok(values) if cfg!(records) => {
                    let (pointer, length) = records(values);
                    return_result(pointer, length as i32);
                }
                Ok(values) => return_result(values[0].1.as_ptr(), values[0].1.len() as i32),
                Err(error) => return_error(error.as_ptr(), error.len() as i32),
            }
        }
    };
}

type Answer = Result<Vec<Typed>, String>;

export!(say, 1, |given: Frame| -> Answer { Ok(vec![text(format!("hello {}", given.text(0)))]) });

export!(chatty, 1, |given: Frame| -> Answer {
    println!("printed, not answered");
    Ok(vec![text(given.text(0))])
});

export!(invert, 1, |given: Frame| -> Answer {
    Ok(vec![Typed(21, given.bytes(0).into_iter().map(|byte| !byte).collect())])
});

export!(join, 3, |given: Frame| -> Answer {
    Ok(vec![text((0..3).map(|index| given.bytes(index).len().to_string()).collect::<Vec<_>>().join(" "))])
});

export!(repeat, 2, |given: Frame| -> Answer { Ok(vec![text(given.text(1).repeat(given.number::<u8>(0).into()))]) });

export!(add, 2, |given: Frame| -> Answer {
    let sum = given.number::<i32>(0) + given.number::<i32>(1);
    Ok(vec![Typed(6, sum.to_le_bytes().to_vec())])
});

export!(half, 1, |given: Frame| -> Answer {
    Ok(vec![Typed(10, (given.number::<f64>(0) / 2.0).to_le_bytes().to_vec())])
});

export!(next, 1, |given: Frame| -> Answer {
    Ok(vec![Typed(7, given.number::<u64>(0).wrapping_add(1).to_le_bytes().to_vec())])
});

export!(several, 1, |given: Frame| -> Answer {
    let numbers = [1i32, -2].iter().flat_map(|number| number.to_le_bytes()).collect();
    Ok(vec![text(given.text(0)), Typed(11, vec![1]), Typed(12, vec![0xfc, 0, 0, 0]), Typed(26, numbers), Typed(21, vec![0, 255])])
});

export!(refuse, 1, |given: Frame| -> Answer { Err(format!("no {}", given.text(0))) });

export!(fail, 0, |_: Frame| -> Answer { panic!("my own words") });
