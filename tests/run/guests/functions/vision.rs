//! The articles' functions: `infer(image) -> String`, a label and how sure it is, and with `--cfg faces` `infer(smallest,
//! image) -> Vec<u8>`, the image with green boxes as PNG.
//!
//! The image is decoded by the host. A label comes from `--cfg ssvm` the functions of ssvm_tensorflowlite, `--cfg lite`
//! those of wasmedge_tensorflowlite, else wasi-nn; faces from the cascade of aicli's guest, which is linked in, through
//! wasi-nn. `--cfg framed`, `env` and `runnable` export as wasmedge_bindgen, its first generation and reactr do; else
//! wasm-bindgen, where `three` takes model, labels and image, and `single` finds faces from 20 pixels on. `pointers` has
//! `alloc` and `infer_from_ptrs`. MODEL and LABELS are the files that are compiled in, INPUT and OUTPUT the model's tensors.

use std::mem::ManuallyDrop;

#[cfg(faces)]
extern crate aicli_guest;

macro_rules! image_module {
    ($module:literal) => {
        #[link(wasm_import_module = $module)]
        extern "C" {
            #[link_name = concat!($module, "_load_jpg_to_rgb8")]
            fn load_jpg(data: *const u8, length: usize, width: u32, height: u32, out: *mut u8) -> u32;
        }
    };
}

#[cfg(ssvm)]
image_module!("ssvm_image");
#[cfg(not(ssvm))]
image_module!("wasmedge_image");

fn decode(image: &[u8], width: u32, height: u32) -> Result<Vec<u8>, String> {
    let mut pixels = vec![0u8; (width * height * 3) as usize];
    match unsafe { load_jpg(image.as_ptr(), image.len(), width, height, pixels.as_mut_ptr()) } {
        0 => Ok(pixels),
        _ => Err("this is no JPEG image".into()),
    }
}

#[cfg(not(faces))]
mod task {
    const SIDE: u32 = 224;
    #[cfg(not(any(three, pointers)))]
    static MODEL: &[u8] = include_bytes!(env!("MODEL"));
    #[cfg(not(any(three, pointers)))]
    static LABELS: &str = include_str!(env!("LABELS"));

    #[cfg(not(any(three, pointers)))]
    pub fn infer(image: &[u8]) -> Result<Vec<u8>, String> {
        infer_with(MODEL, LABELS, image)
    }

    /// The number of the best class, and its score.
    pub fn best_of(model: &[u8], image: &[u8]) -> Result<(usize, f32), String> {
        let pixels = super::decode(image, SIDE, SIDE)?;
        let values: Vec<f32> = pixels.iter().map(|&value| (f32::from(value) - 127.0) / 128.0).collect();
        let mut scores = [0f32; 1000];
        unsafe { run(model, &values, &mut scores) }?;
        let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
        Ok((best, scores[best]))
    }

    #[cfg(not(pointers))]
    pub fn infer_with(model: &[u8], labels: &str, image: &[u8]) -> Result<Vec<u8>, String> {
        let (best, score) = best_of(model, image)?;
        let label = labels.lines().nth(best).ok_or("too few labels")?;
        let sure = match score {
            score if score > 0.75 => "very high",
            score if score > 0.5 => "high",
            score if score > 0.2 => "medium",
            _ => "low",
        };
        Ok(format!("[{:?},{:?}]", label, sure).into_bytes())
    }

    #[cfg(any(ssvm, lite))]
    macro_rules! lite_module {
        ($module:literal) => {
            #[link(wasm_import_module = $module)]
            extern "C" {
                #[link_name = concat!($module, "_create_session")]
                fn create_session(model: *const u8, length: usize) -> u64;
                #[link_name = concat!($module, "_delete_session")]
                fn delete_session(session: u64);
                #[link_name = concat!($module, "_run_session")]
                fn run_session(session: u64) -> u32;
                #[link_name = concat!($module, "_get_output_tensor")]
                fn get_output_tensor(session: u64, name: *const u8, length: usize) -> u64;
                #[link_name = concat!($module, "_get_tensor_len")]
                fn get_tensor_len(tensor: u64) -> u32;
                #[link_name = concat!($module, "_get_tensor_data")]
                fn get_tensor_data(tensor: u64, buffer: *mut f32);
                #[link_name = concat!($module, "_append_input")]
                fn append_input(session: u64, name: *const u8, length: usize, data: *const f32, size: usize);
            }
        };
    }

    #[cfg(ssvm)]
    lite_module!("ssvm_tensorflowlite");
    #[cfg(lite)]
    lite_module!("wasmedge_tensorflowlite");

    #[cfg(any(ssvm, lite))]
    unsafe fn run(model: &[u8], values: &[f32], scores: &mut [f32; 1000]) -> Result<(), String> {
        let (input, output) = (env!("INPUT"), env!("OUTPUT"));
        let session = create_session(model.as_ptr(), model.len());
        append_input(session, input.as_ptr(), input.len(), values.as_ptr(), 4 * values.len());
        if run_session(session) != 0 {
            return Err("the network failed".into());
        }
        let tensor = get_output_tensor(session, output.as_ptr(), output.len());
        assert_eq!(get_tensor_len(tensor), 4000);
        get_tensor_data(tensor, scores.as_mut_ptr());
        delete_session(session);
        Ok(())
    }

    #[cfg(not(any(ssvm, lite)))]
    #[link(wasm_import_module = "wasi_ephemeral_nn")]
    extern "C" {
        fn load(builders: *const [u32; 2], count: u32, encoding: u32, target: u32, graph: *mut u32) -> u32;
        fn init_execution_context(graph: u32, context: *mut u32) -> u32;
        fn set_input(context: u32, index: u32, tensor: *const [u32; 5]) -> u32;
        fn compute(context: u32) -> u32;
        fn get_output(context: u32, index: u32, buffer: *mut f32, size: usize, written: *mut u32) -> u32;
    }

    /// With the encoding 3 that some bindings have for TFLite.
    #[cfg(not(any(ssvm, lite)))]
    unsafe fn run(model: &[u8], values: &[f32], scores: &mut [f32; 1000]) -> Result<(), String> {
        let (mut graph, mut context, mut written) = (0, 0, 0);
        let shape = [1, SIDE, SIDE, 3];
        let tensor = [shape.as_ptr() as u32, 4, 1, values.as_ptr() as u32, 4 * values.len() as u32];
        let errors = [
            load(&[model.as_ptr() as u32, model.len() as u32], 1, 3, 0, &mut graph),
            init_execution_context(graph, &mut context),
            set_input(context, 0, &tensor),
            compute(context),
            get_output(context, 0, scores.as_mut_ptr(), 4000, &mut written),
        ];
        if errors == [0; 5] { Ok(()) } else { Err(format!("the network failed: {:?}", errors)) }
    }
}

#[cfg(faces)]
mod task {
    extern "C" {
        fn aicli_detect_faces(request: *const u8) -> *const [u32; 6];
    }

    /// Width and height, which stand in the frame header (T.81, section B.2.2).
    fn size_of(image: &[u8]) -> Option<(u32, u32)> {
        let mut at = 2;
        loop {
            let (marker, length) = (*image.get(at + 1)?, u16::from_be_bytes([*image.get(at + 2)?, *image.get(at + 3)?]));
            if matches!(marker, 0xc0..=0xc3) {
                let value = |place: usize| Some(u32::from(*image.get(place)?) << 8 | u32::from(*image.get(place + 1)?));
                return Some((value(at + 7)?, value(at + 5)?));
            }
            at += 2 + usize::from(length);
        }
    }

    pub fn infer(smallest: f32, image: &[u8]) -> Result<Vec<u8>, String> {
        let (width, height) = size_of(image).ok_or("this is no JPEG image")?;
        let mut pixels = super::decode(image, width, height)?;
        let mut request = Vec::new();
        for word in [64, pixels.as_ptr() as u32, width, height] {
            request.extend(word.to_le_bytes());
        }
        for number in [smallest, 0.6, 0.7, 0.7, 0.709, 127.5, 128.0] {
            request.extend(number.to_le_bytes());
        }
        request.resize(64, 0);
        let [status, count, records, message, length, _] = unsafe { *aicli_detect_faces(request.as_ptr()) };
        if status != 0 {
            let text = unsafe { std::slice::from_raw_parts(message as *const u8, length as usize) };
            return Err(String::from_utf8_lossy(text).into_owned());
        }
        let faces = unsafe { std::slice::from_raw_parts(records as *const [f32; 15], count as usize) };
        println!("{} faces", faces.len());
        for face in faces {
            outline(&mut pixels, width, height, [face[0], face[1], face[2], face[3]]);
        }
        Ok(png(&pixels, width, height))
    }

    fn outline(pixels: &mut [u8], width: u32, height: u32, [x1, y1, x2, y2]: [f32; 4]) {
        let clamp = |value: f32, size: u32| (value.max(0.0) as u32).min(size - 1);
        let (x1, x2) = (clamp(x1, width), clamp(x2, width));
        let (y1, y2) = (clamp(y1, height), clamp(y2, height));
        let mut dot = |x: u32, y: u32| pixels[((y * width + x) * 3) as usize..][..3].copy_from_slice(&[0, 255, 0]);
        (x1..=x2).for_each(|x| [y1, y2].iter().for_each(|&y| dot(x, y)));
        (y1..=y2).for_each(|y| [x1, x2].iter().for_each(|&x| dot(x, y)));
    }

    /// A PNG file without compression.
    fn png(pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
        let rows: Vec<u8> = pixels.chunks((width * 3) as usize).flat_map(|row| [&[0], row].concat()).collect();
        let mut data = vec![0x78, 1];
        let blocks = rows.chunks(65535);
        let last = blocks.len() - 1;
        for (n, block) in blocks.enumerate() {
            data.push(u8::from(n == last));
            data.extend((block.len() as u16).to_le_bytes());
            data.extend((!(block.len() as u16)).to_le_bytes());
            data.extend(block);
        }
        let (a, b) = rows.iter().fold((1u32, 0u32), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65521;
            (a, (b + a) % 65521)
        });
        data.extend((b << 16 | a).to_be_bytes());
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        for (kind, content) in [(b"IHDR", &header), (b"IDAT", &data), (b"IEND", &Vec::new())] {
            file.extend((content.len() as u32).to_be_bytes());
            let chunk = [&kind[..], content].concat();
            let crc = chunk.iter().fold(u32::MAX, |crc, &byte| {
                (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
            });
            file.extend(chunk);
            file.extend((!crc).to_be_bytes());
        }
        file
    }
}

// How it is exported

#[cfg(not(any(framed, env, runnable, pointers)))]
mod export {
    use super::*;

    #[no_mangle]
    pub extern "C" fn __wbindgen_malloc(size: usize) -> *mut u8 {
        ManuallyDrop::new(Vec::with_capacity(size.max(1))).as_mut_ptr()
    }

    #[no_mangle]
    pub unsafe extern "C" fn __wbindgen_free(pointer: *mut u8, size: usize) {
        drop(Vec::from_raw_parts(pointer, size, size));
    }

    unsafe fn give(place: *mut u32, answer: Result<Vec<u8>, String>) {
        let data = answer.expect("an image").into_boxed_slice();
        *place = data.as_ptr() as u32;
        *place.add(1) = data.len() as u32;
        std::mem::forget(data);
    }

    #[cfg(three)]
    #[no_mangle]
    pub unsafe extern "C" fn infer(
        place: *mut u32, model: *mut u8, size: usize, labels: *mut u8, count: usize, image: *mut u8, length: usize,
    ) {
        let model = Vec::from_raw_parts(model, size, size);
        let labels = String::from_utf8(Vec::from_raw_parts(labels, count, count)).expect("UTF-8");
        give(place, task::infer_with(&model, &labels, &Vec::from_raw_parts(image, length, length)));
    }

    #[cfg(not(any(faces, three)))]
    #[no_mangle]
    pub unsafe extern "C" fn infer(place: *mut u32, image: *mut u8, length: usize) {
        give(place, task::infer(&Vec::from_raw_parts(image, length, length)));
    }

    #[cfg(all(faces, single))]
    #[no_mangle]
    pub unsafe extern "C" fn infer(place: *mut u32, image: *mut u8, length: usize) {
        give(place, task::infer(20.0, &Vec::from_raw_parts(image, length, length)));
    }

    #[cfg(all(faces, not(single)))]
    #[no_mangle]
    pub unsafe extern "C" fn infer(place: *mut u32, smallest: u32, image: *mut u8, length: usize) {
        give(place, task::infer(smallest as f32, &Vec::from_raw_parts(image, length, length)));
    }
}

#[cfg(any(framed, env, runnable))]
mod export {
    use super::*;

    #[no_mangle]
    pub extern "C" fn allocate(size: usize) -> *mut u8 {
        ManuallyDrop::new(Vec::with_capacity(size)).as_mut_ptr()
    }

    #[no_mangle]
    pub unsafe extern "C" fn deallocate(pointer: *mut u8, size: i32) {
        drop(Vec::from_raw_parts(pointer, 0, size as usize));
    }

    #[cfg(any(framed, env))]
    unsafe fn answer(frame: *mut u32, count: i32) -> Result<Vec<u8>, String> {
        let words = Vec::from_raw_parts(frame, 2 * count as usize, 2 * count as usize);
        let wanted = if cfg!(faces) { 2 } else { 1 };
        if count != wanted {
            return Err(format!("Invalid params count, expect {}, got {}", wanted, count));
        }
        let length = words[words.len() - 1] as usize;
        let image = Vec::from_raw_parts(words[words.len() - 2] as *mut u8, length, length);
        #[cfg(faces)]
        return task::infer(*(words[0] as *const u32) as f32, &image);
        #[cfg(not(faces))]
        task::infer(&image)
    }

    #[cfg(framed)]
    #[no_mangle]
    pub unsafe extern "C" fn infer(frame: *mut u32, count: i32) -> *const u8 {
        let kind = if cfg!(faces) { 21 } else { 31 };
        let (flag, pointer, length) = match answer(frame, count) {
            Ok(data) => {
                let data = ManuallyDrop::new(data);
                let record = ManuallyDrop::new(vec![data.as_ptr() as u32, kind, data.len() as u32]);
                (0u8, record.as_ptr() as u32, 1u32)
            }
            Err(text) => (1, text.as_ptr() as u32, ManuallyDrop::new(text).len() as u32),
        };
        let bytes = [&[flag][..], &pointer.to_le_bytes(), &length.to_le_bytes()].concat();
        ManuallyDrop::new(bytes).as_ptr()
    }

    #[cfg(env)]
    #[link(wasm_import_module = "env")]
    extern "C" {
        fn return_result(pointer: *const u8, size: usize);
        fn return_error(pointer: *const u8, size: usize);
    }

    #[cfg(env)]
    #[no_mangle]
    pub unsafe extern "C" fn infer(frame: *mut u32, count: i32) {
        match answer(frame, count) {
            Ok(data) => return_result(data.as_ptr(), data.len()),
            Err(text) => return_error(text.as_ptr(), text.len()),
        }
    }

    #[cfg(runnable)]
    #[link(wasm_import_module = "env")]
    extern "C" {
        fn return_result(pointer: *const u8, size: usize, request: i32);
        fn return_error(code: i32, pointer: *const u8, size: usize, request: i32);
    }

    #[cfg(runnable)]
    #[no_mangle]
    pub unsafe extern "C" fn run_e(image: *mut u8, length: usize, request: i32) {
        let image = Vec::from_raw_parts(image, length, length);
        #[cfg(faces)]
        let answer = task::infer(20.0, &image);
        #[cfg(not(faces))]
        let answer = task::infer(&image);
        match answer {
            Ok(data) => return_result(data.as_ptr(), data.len(), request),
            Err(text) => return_error(422, text.as_ptr(), text.len(), request),
        }
    }
}

#[cfg(pointers)]
mod export {
    use super::*;

    #[no_mangle]
    pub extern "C" fn alloc(size: usize) -> *mut u8 {
        ManuallyDrop::new(Vec::with_capacity(size)).as_mut_ptr()
    }

    #[no_mangle]
    pub unsafe extern "C" fn infer_from_ptrs(model: *mut u8, size: usize, image: *mut u8, length: usize) -> i32 {
        let (model, image) = (std::slice::from_raw_parts(model, size), std::slice::from_raw_parts(image, length));
        task::best_of(model, image).map_or(-1, |(best, _)| best as i32)
    }
}
