//! The WebAssembly guest of aicli: prepares an image for a neural network and reads its answer.
//!
//! The host decodes the photo and runs the network; everything between pixels and answer happens here, without files,
//! clock or network. docs/guest-abi.md describes what the host and this guest say to each other. `exports` is what the host
//! calls and `host` what it is called for; they and `bytes` hold, apart from `simd`'s loads and stores and the allocator of
//! `profile`, all unsafe code.

#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]
#![warn(unreachable_pub)]

#[cfg(all(target_arch = "wasm32", not(target_feature = "simd128")))]
compile_error!("build inside guest-rust/, where .cargo/config.toml turns SIMD128 on");

mod bytes;
mod classify;
mod exports;
mod failure;
#[cfg_attr(test, path = "fake.rs")]
mod host;
mod kernel;
mod mtcnn;
mod nn;
mod profile;
mod ranking;
mod request;
mod resize;
mod simd;
mod tensor;
mod tensor_type;
