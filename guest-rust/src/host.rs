//! What the guest calls: the imports, as safe functions; `Err` and non-zero results are errnos.
//!
//! Natively no host is there, and everything is an unsupported operation; in tests `fake.rs` stands in this place.

#![allow(unsafe_code)]

use crate::tensor_type::TensorType;

#[cfg(target_arch = "wasm32")]
pub(crate) use imports::*;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use nobody::*;

#[cfg(target_arch = "wasm32")]
mod imports {
    use super::TensorType;

    /// The tensor record of wasi-nn's witx dialect.
    #[repr(C)]
    struct Tensor {
        dimensions: *const u32,
        dimension_count: usize,
        kind: u32,
        data: *const u8,
        data_length: usize,
    }

    mod raw {
        #[link(wasm_import_module = "wasi_ephemeral_nn")]
        extern "C" {
            pub(crate) fn load_by_name(name: *const u8, length: usize, graph: *mut u32) -> u32;
            pub(crate) fn init_execution_context(graph: u32, context: *mut u32) -> u32;
            pub(super) fn set_input(context: u32, index: u32, tensor: *const super::Tensor) -> u32;
            pub(crate) fn compute(context: u32) -> u32;
            pub(crate) fn get_output(
                context: u32,
                index: u32,
                buffer: *mut u8,
                size: usize,
                written: *mut usize,
            ) -> u32;
            pub(crate) fn finalize_execution_context(context: u32) -> u32;
        }
    }

    #[cfg(feature = "profile")]
    pub(crate) fn mark(stage: u32) {
        #[link(wasm_import_module = "aicli_profile")]
        extern "C" {
            fn mark(stage: u32) -> u32;
        }
        unsafe { mark(stage) };
    }

    fn result<T>(errno: u32, value: T) -> Result<T, u32> {
        if errno == 0 {
            Ok(value)
        } else {
            Err(errno)
        }
    }

    pub(crate) fn load_by_name(name: &str) -> Result<u32, u32> {
        let mut graph = 0;
        // SAFETY: the host reads `name` and writes one u32; likewise below.
        let errno = unsafe { raw::load_by_name(name.as_ptr(), name.len(), &mut graph) };
        result(errno, graph)
    }

    pub(crate) fn init_execution_context(graph: u32) -> Result<u32, u32> {
        let mut context = 0;
        let errno = unsafe { raw::init_execution_context(graph, &mut context) };
        result(errno, context)
    }

    pub(crate) fn set_input(context: u32, index: u32, dimensions: &[u32], kind: TensorType, data: &[u8]) -> u32 {
        let tensor = Tensor {
            dimensions: dimensions.as_ptr(),
            dimension_count: dimensions.len(),
            kind: kind as u32,
            data: data.as_ptr(),
            data_length: data.len(),
        };
        unsafe { raw::set_input(context, index, &tensor) }
    }

    pub(crate) fn compute(context: u32) -> u32 {
        unsafe { raw::compute(context) }
    }

    pub(crate) fn get_output(context: u32, index: u32, buffer: &mut [u8]) -> Result<usize, u32> {
        let mut written = 0;
        let errno = unsafe { raw::get_output(context, index, buffer.as_mut_ptr(), buffer.len(), &mut written) };
        result(errno, written)
    }

    pub(crate) fn finalize_execution_context(context: u32) {
        unsafe { raw::finalize_execution_context(context) };
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod nobody {
    use super::TensorType;

    const UNSUPPORTED: u32 = 6;

    pub(crate) fn load_by_name(_name: &str) -> Result<u32, u32> {
        Err(UNSUPPORTED)
    }

    pub(crate) fn init_execution_context(_graph: u32) -> Result<u32, u32> {
        Err(UNSUPPORTED)
    }

    pub(crate) fn set_input(_context: u32, _index: u32, _dimensions: &[u32], _kind: TensorType, _data: &[u8]) -> u32 {
        UNSUPPORTED
    }

    pub(crate) fn compute(_context: u32) -> u32 {
        UNSUPPORTED
    }

    pub(crate) fn get_output(_context: u32, _index: u32, _buffer: &mut [u8]) -> Result<usize, u32> {
        Err(UNSUPPORTED)
    }

    pub(crate) fn finalize_execution_context(_context: u32) {}
}
