//! A command for `wasmedge_tensorflow`, current functions, and with `--cfg legacy` the old ones.
//!
//! graph MODEL; MODEL is a frozen graph that adds `a` (2 x 2, f32) and `b` (scalar, f32), and gives the number of
//! elements of `a` as i64. `graph --saved FOLDER` does the same with a saved model (current functions only).

use std::{env, fs};

#[cfg(not(legacy))]
mod api {
    #[link(wasm_import_module = "wasmedge_tensorflow")]
    extern "C" {
        fn create_session(model: *const u8, length: u32, session: *mut u32) -> u32;
        fn create_session_saved_model(path: *const u8, length: u32, tags: *const u32, count: u32, session: *mut u32) -> u32;
        fn delete_session(session: u32) -> u32;
        fn run_session(session: u32) -> u32;
        fn get_output_tensor(session: u32, name: *const u8, length: u32, tensor: *mut u32) -> u32;
        fn get_tensor_len(session: u32, tensor: u32, length: *mut u32) -> u32;
        fn get_tensor_data(session: u32, tensor: u32, buffer: *mut u8, size: u32, written: *mut u32) -> u32;
        fn append_input(
            session: u32, name: *const u8, length: u32, dims: *const i64, rank: u32, kind: u32, data: *const u8, size: u32,
        ) -> u32;
        fn append_output(session: u32, name: *const u8, length: u32) -> u32;
        fn clear_input(session: u32) -> u32;
        fn clear_output(session: u32) -> u32;
    }
    pub type Session = u32;
    pub unsafe fn create(model: &[u8]) -> Result<Session, u32> {
        let mut session = 0;
        match create_session(model.as_ptr(), model.len() as u32, &mut session) {
            0 => Ok(session),
            errno => Err(errno),
        }
    }
    pub unsafe fn saved(path: &str) -> Result<Session, u32> {
        let mut session = 0;
        let tag = "serve";
        let tags = [tag.as_ptr() as u32, tag.len() as u32];
        match create_session_saved_model(path.as_ptr(), path.len() as u32, tags.as_ptr(), 1, &mut session) {
            0 => Ok(session),
            errno => Err(errno),
        }
    }
    pub unsafe fn input(session: Session, name: &str, dims: &[i64], data: &[f32]) {
        let name = format!("{}:0", name);
        let size = data.len() as u32 * 4;
        let errno = append_input(
            session, name.as_ptr(), name.len() as u32, dims.as_ptr(), dims.len() as u32, 1, data.as_ptr() as *const u8, size,
        );
        assert_eq!(errno, 0, "append_input");
    }
    pub unsafe fn output(session: Session, name: &str) {
        assert_eq!(append_output(session, name.as_ptr(), name.len() as u32), 0, "append_output");
    }
    pub unsafe fn run(session: Session) {
        assert_eq!(run_session(session), 0, "run_session");
    }
    pub unsafe fn read(session: Session, name: &str) -> Vec<u8> {
        let (mut tensor, mut length, mut written) = (0, 0, 0);
        assert_eq!(get_output_tensor(session, name.as_ptr(), name.len() as u32, &mut tensor), 0, "get_output_tensor");
        assert_eq!(get_tensor_len(session, tensor, &mut length), 0, "get_tensor_len");
        let mut data = vec![0; length as usize];
        assert_eq!(get_tensor_data(session, tensor, data.as_mut_ptr(), length, &mut written), 0, "get_tensor_data");
        assert_eq!(written, length);
        data
    }
    pub unsafe fn end(session: Session) {
        assert_eq!((clear_input(session), clear_output(session), delete_session(session)), (0, 0, 0));
    }
}

#[cfg(legacy)]
mod api {
    #[link(wasm_import_module = "wasmedge_tensorflow")]
    extern "C" {
        fn wasmedge_tensorflow_create_session(model: *const u8, length: u32) -> u64;
        fn wasmedge_tensorflow_delete_session(session: u64);
        fn wasmedge_tensorflow_run_session(session: u64) -> u32;
        fn wasmedge_tensorflow_get_output_tensor(session: u64, name: *const u8, length: u32, index: u32) -> u64;
        fn wasmedge_tensorflow_get_tensor_len(tensor: u64) -> u32;
        fn wasmedge_tensorflow_get_tensor_data(tensor: u64, buffer: *mut u8);
        fn wasmedge_tensorflow_append_input(
            session: u64, name: *const u8, length: u32, index: u32, dims: *const i64, rank: u32, kind: u32, data: *const u8,
            size: u32,
        );
        fn wasmedge_tensorflow_append_output(session: u64, name: *const u8, length: u32, index: u32);
        fn wasmedge_tensorflow_clear_input(session: u64);
        fn wasmedge_tensorflow_clear_output(session: u64);
    }
    pub type Session = u64;
    pub unsafe fn create(model: &[u8]) -> Result<Session, u32> {
        match wasmedge_tensorflow_create_session(model.as_ptr(), model.len() as u32) {
            0 => Err(1),
            session => Ok(session),
        }
    }
    pub unsafe fn saved(_: &str) -> Result<Session, u32> {
        Err(6)
    }
    pub unsafe fn input(session: Session, name: &str, dims: &[i64], data: &[f32]) {
        let size = data.len() as u32 * 4;
        wasmedge_tensorflow_append_input(
            session, name.as_ptr(), name.len() as u32, 0, dims.as_ptr(), dims.len() as u32, 1, data.as_ptr() as *const u8, size,
        );
    }
    pub unsafe fn output(session: Session, name: &str) {
        wasmedge_tensorflow_append_output(session, name.as_ptr(), name.len() as u32, 0);
    }
    pub unsafe fn run(session: Session) {
        assert_eq!(wasmedge_tensorflow_run_session(session), 0);
    }
    pub unsafe fn read(session: Session, name: &str) -> Vec<u8> {
        let tensor = wasmedge_tensorflow_get_output_tensor(session, name.as_ptr(), name.len() as u32, 0);
        let mut data = vec![0; wasmedge_tensorflow_get_tensor_len(tensor) as usize];
        wasmedge_tensorflow_get_tensor_data(tensor, data.as_mut_ptr());
        data
    }
    pub unsafe fn end(session: Session) {
        wasmedge_tensorflow_clear_input(session);
        wasmedge_tensorflow_clear_output(session);
        wasmedge_tensorflow_delete_session(session);
    }
}

fn main() {
    let args: Vec<String> = env::args().collect();
    unsafe {
        let session = if args[1] == "--saved" { api::saved(&args[2]) } else { api::create(&fs::read(&args[1]).expect("MODEL")) };
        let session = match session {
            Ok(session) => session,
            Err(errno) => {
                println!("failed {}", errno);
                return;
            }
        };
        api::input(session, "a", &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        api::input(session, "b", &[], &[0.5]);
        api::output(session, "sum");
        api::output(session, "count");
        api::run(session);
        let sum: Vec<f32> = api::read(session, "sum").chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        let count = i64::from_le_bytes(api::read(session, "count").try_into().unwrap());
        println!("{:?} {}", sum, count);
        api::end(session);
    }
}
