//! The WebAssembly guest of aicli: prepares an image for a neural network and reads its answer.
//!
//! The host decodes the photo and runs the network; everything between pixels and answer happens here, without files,
//! clock or network. docs/guest-abi.md describes what the host and this guest say to each other. `abi` holds the
//! exports and imports and, apart from `simd`'s loads and stores, all unsafe code.

#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

#[cfg(all(target_arch = "wasm32", not(target_feature = "simd128")))]
compile_error!("build inside guest-rust/, where .cargo/config.toml turns SIMD128 on");

mod abi;
pub mod classify;
pub mod failure;
#[cfg(all(test, not(target_arch = "wasm32")))]
mod fake;
pub mod kernel;
pub mod mtcnn;
pub mod nn;
mod profile;
pub mod ranking;
pub mod request;
pub mod resize;
mod simd;
pub mod tensor;
