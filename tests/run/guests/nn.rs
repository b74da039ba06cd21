//! A command for `wasi_ephemeral_nn`: the model from a folder's file or by name, raw RGB pixels from a file.
//!
//! nn MODE MODEL PIXELS SIDE TYPE; MODE is bytes, name or config; TYPE is the number of the tensor type U8. It prints the
//! best class and its score, and the errno of some calls that must fail.

use std::{env, fs};

#[repr(C)]
struct Tensor {
    dims: *const u32,
    rank: u32,
    kind: u8,
    data: *const u8,
    size: u32,
}

#[link(wasm_import_module = "wasi_ephemeral_nn")]
extern "C" {
    fn load(builders: *const u32, count: u32, encoding: u32, target: u32, graph: *mut u32) -> u32;
    fn load_by_name(name: *const u8, length: u32, graph: *mut u32) -> u32;
    fn load_by_name_with_config(
        name: *const u8, length: u32, config: *const u8, config_length: u32, graph: *mut u32,
    ) -> u32;
    fn init_execution_context(graph: u32, context: *mut u32) -> u32;
    fn set_input(context: u32, index: u32, tensor: *const Tensor) -> u32;
    fn compute(context: u32) -> u32;
    fn compute_single(context: u32) -> u32;
    fn get_output(context: u32, index: u32, buffer: *mut u8, size: u32, written: *mut u32) -> u32;
    fn get_output_single(context: u32, index: u32, buffer: *mut u8, size: u32, written: *mut u32) -> u32;
    fn fini_single(context: u32) -> u32;
    fn finalize_execution_context(context: u32) -> u32;
    fn unload(graph: u32) -> u32;
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let (mode, model) = (args[1].as_str(), args[2].as_str());
    let side: u32 = args[4].parse().expect("SIDE");
    let kind: u8 = args[5].parse().expect("TYPE");
    let single = args.get(6).map(String::as_str) == Some("single");
    let (mut graph, mut context, mut written) = (0u32, 0u32, 0u32);
    let bytes;
    let errno = unsafe {
        match mode {
            "bytes" => {
                bytes = fs::read(model).expect("MODEL");
                let builder = [bytes.as_ptr() as u32, bytes.len() as u32];
                println!("onnx {}", load(builder.as_ptr(), 1, 1, 0, &mut graph));
                load(builder.as_ptr(), 1, 4, 0, &mut graph)
            }
            "name" => load_by_name(model.as_ptr(), model.len() as u32, &mut graph),
            _ => load_by_name_with_config(model.as_ptr(), model.len() as u32, b"{}".as_ptr(), 2, &mut graph),
        }
    };
    assert_eq!(errno, 0, "load");
    let pixels = fs::read(&args[3]).expect("PIXELS");
    let dims = [1, side, side, 3];
    let tensor = Tensor { dims: dims.as_ptr(), rank: 4, kind, data: pixels.as_ptr(), size: pixels.len() as u32 };
    let mut scores = vec![0u8; 4096];
    unsafe {
        assert_eq!(init_execution_context(graph, &mut context), 0, "init_execution_context");
        println!("stale {}", compute(context + 100));
        println!("pointer {}", set_input(context, 0, 0xffff_fff0u32 as *const Tensor));
        assert_eq!(set_input(context, 0, &tensor), 0, "set_input");
        let buffer = scores.as_mut_ptr();
        if single {
            assert_eq!(compute_single(context), 0, "compute_single");
            assert_eq!(get_output_single(context, 0, buffer, 4096, &mut written), 0, "get_output_single");
            assert_eq!(fini_single(context), 0, "fini_single");
        } else {
            assert_eq!(compute(context), 0, "compute");
            println!("small {} {}", get_output(context, 0, buffer, 10, &mut written), written);
            assert_eq!(get_output(context, 0, buffer, 4096, &mut written), 0, "get_output");
        }
        assert_eq!(unload(graph), 0, "unload");
        assert_eq!(finalize_execution_context(context), 0, "finalize_execution_context");
    }
    let best = (0..written as usize).max_by_key(|&class| scores[class]).unwrap();
    println!("{} {}", best, scores[best]);
}
