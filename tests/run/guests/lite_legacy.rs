//! A command for the legacy functions: handles of 64 bits and names with the module's prefix.
//!
//! lite_legacy MODEL INPUT OUTPUT PHOTO SIDE; it prints the best class and its score, and the first pixel as u8 and f32.
//! Compiled with `--cfg ssvm` it uses the modules `ssvm_tensorflowlite`, `ssvm_image` and `ssvm_tensorflow`.

use std::{env, fs};

macro_rules! imports {
    ($lite:literal, $image:literal, $tensorflow:literal) => {
        #[link(wasm_import_module = $lite)]
        extern "C" {
            #[link_name = concat!($lite, "_create_session")]
            fn create_session(model: *const u8, length: u32) -> u64;
            #[link_name = concat!($lite, "_delete_session")]
            fn delete_session(session: u64);
            #[link_name = concat!($lite, "_run_session")]
            fn run_session(session: u64) -> u32;
            #[link_name = concat!($lite, "_get_output_tensor")]
            fn get_output_tensor(session: u64, name: *const u8, length: u32) -> u64;
            #[link_name = concat!($lite, "_get_tensor_len")]
            fn get_tensor_len(tensor: u64) -> u32;
            #[link_name = concat!($lite, "_get_tensor_data")]
            fn get_tensor_data(tensor: u64, buffer: *mut u8);
            #[link_name = concat!($lite, "_append_input")]
            fn append_input(session: u64, name: *const u8, length: u32, data: *const u8, size: u32);
        }
        #[link(wasm_import_module = $image)]
        extern "C" {
            #[link_name = concat!($image, "_load_jpg_to_rgb8")]
            fn load_jpg_to_rgb8(data: *const u8, length: u32, width: u32, height: u32, out: *mut u8) -> u32;
            #[link_name = concat!($image, "_load_jpg_to_bgr32f")]
            fn load_jpg_to_bgr32f(data: *const u8, length: u32, width: u32, height: u32, out: *mut f32) -> u32;
        }
        #[link(wasm_import_module = $tensorflow)]
        extern "C" {
            #[link_name = concat!($tensorflow, "_create_session")]
            fn create_graph(model: *const u8, length: u32) -> u64;
        }
    };
}

#[cfg(not(ssvm))]
imports!("wasmedge_tensorflowlite", "wasmedge_image", "wasmedge_tensorflow");
#[cfg(ssvm)]
imports!("ssvm_tensorflowlite", "ssvm_image", "ssvm_tensorflow");

fn main() {
    let args: Vec<String> = env::args().collect();
    let model = fs::read(&args[1]).expect("MODEL");
    if args.len() == 2 {
        println!("graph {}", unsafe { create_graph(model.as_ptr(), model.len() as u32) });
        return;
    }
    let (input, output, side) = (&args[2], &args[3], args[5].parse::<u32>().expect("SIDE"));
    let photo = fs::read(&args[4]).expect("PHOTO");
    let mut pixels = vec![0u8; (side * side * 3) as usize];
    let mut floats = vec![0f32; pixels.len()];
    unsafe {
        let (data, length) = (photo.as_ptr(), photo.len() as u32);
        assert_eq!(load_jpg_to_rgb8(data, length, side, side, pixels.as_mut_ptr()), 0, "load_jpg_to_rgb8");
        assert_eq!(load_jpg_to_bgr32f(data, length, side, side, floats.as_mut_ptr()), 0, "load_jpg_to_bgr32f");
        println!("pixel {} {} {} {:?}", pixels[0], pixels[1], pixels[2], &floats[..3]);
        println!("no model {}", create_session(photo.as_ptr(), 100));
        let session = create_session(model.as_ptr(), model.len() as u32);
        append_input(session, input.as_ptr(), input.len() as u32, pixels.as_ptr(), pixels.len() as u32);
        println!("run {}", run_session(session));
        println!("unknown {}", get_output_tensor(session, b"x".as_ptr(), 1));
        let tensor = get_output_tensor(session, output.as_ptr(), output.len() as u32);
        let mut scores = vec![0u8; get_tensor_len(tensor) as usize];
        get_tensor_data(tensor, scores.as_mut_ptr());
        delete_session(session);
        let best = (0..scores.len()).max_by_key(|&class| scores[class]).unwrap();
        println!("{} {}", best, scores[best]);
    }
}
