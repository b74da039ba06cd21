//! A command for `wasmedge_tensorflowlite` and `wasmedge_image` as interface crate 0.3 calls them.
//!
//! lite_current MODEL INPUT OUTPUT PHOTO SIDE; it prints the best class and its score. It imports a function of
//! `wasmedge_tensorflow` too, as every guest with that crate does.

use std::{env, fs};

#[link(wasm_import_module = "wasmedge_tensorflowlite")]
extern "C" {
    fn create_session(model: *const u8, length: u32, session: *mut u32) -> u32;
    fn delete_session(session: u32) -> u32;
    fn run_session(session: u32) -> u32;
    fn get_output_tensor(session: u32, name: *const u8, length: u32, tensor: *mut u32) -> u32;
    fn get_tensor_len(session: u32, tensor: u32, length: *mut u32) -> u32;
    fn get_tensor_data(session: u32, tensor: u32, buffer: *mut u8, size: u32, written: *mut u32) -> u32;
    fn append_input(session: u32, name: *const u8, length: u32, data: *const u8, size: u32) -> u32;
}

mod image {
    #[link(wasm_import_module = "wasmedge_image")]
    extern "C" {
        pub fn load_jpg(data: *const u8, length: u32, width: u32, height: u32, kind: u32, out: *mut u8, size: u32) -> u32;
    }
}

mod tensorflow {
    #[link(wasm_import_module = "wasmedge_tensorflow")]
    extern "C" {
        pub fn create_session(model: *const u8, length: u32, session: *mut u32) -> u32;
    }
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let model = fs::read(&args[1]).expect("MODEL");
    if args.len() == 2 {
        let mut session = 0;
        let errno = unsafe { tensorflow::create_session(model.as_ptr(), model.len() as u32, &mut session) };
        println!("tensorflow {}", errno);
        std::process::exit(errno as i32);
    }
    let (input, output, side) = (&args[2], &args[3], args[5].parse::<u32>().expect("SIDE"));
    let photo = fs::read(&args[4]).expect("PHOTO");
    let mut pixels = vec![0u8; (side * side * 3) as usize];
    let (mut session, mut tensor, mut length, mut written) = (0u32, 0u32, 0u32, 0u32);
    unsafe {
        let size = pixels.len() as u32;
        let errno = image::load_jpg(photo.as_ptr(), photo.len() as u32, side, side, 0, pixels.as_mut_ptr(), size);
        assert_eq!(errno, 0, "load_jpg");
        println!("short {}", image::load_jpg(photo.as_ptr(), photo.len() as u32, side, side, 2, pixels.as_mut_ptr(), size));
        assert_eq!(create_session(model.as_ptr(), model.len() as u32, &mut session), 0, "create_session");
        let name = (input.as_ptr(), input.len() as u32);
        println!("size {}", append_input(session, name.0, name.1, pixels.as_ptr(), size - 1));
        assert_eq!(append_input(session, name.0, name.1, pixels.as_ptr(), size), 0, "append_input");
        assert_eq!(run_session(session), 0, "run_session");
        println!("unknown {}", get_output_tensor(session, b"x".as_ptr(), 1, &mut tensor));
        assert_eq!(get_output_tensor(session, output.as_ptr(), output.len() as u32, &mut tensor), 0, "get_output_tensor");
        assert_eq!(get_tensor_len(session, tensor, &mut length), 0, "get_tensor_len");
        let mut scores = vec![0u8; length as usize];
        assert_eq!(get_tensor_data(session, tensor, scores.as_mut_ptr(), length, &mut written), 0, "get_tensor_data");
        assert_eq!(written, length);
        assert_eq!(delete_session(session), 0, "delete_session");
        let best = (0..scores.len()).max_by_key(|&class| scores[class]).unwrap();
        println!("{} {}", best, scores[best]);
    }
}
