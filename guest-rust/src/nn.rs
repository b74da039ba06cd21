//! The host's neural networks: graphs that are loaded by name, and execution contexts that run them.

use crate::bytes::bytes_of_mut;
use crate::failure::Failure;
use crate::host;
use crate::tensor_type::TensorType;

/// A model of the host; stays loaded for the life of the instance.
#[derive(Clone, Copy)]
pub(crate) struct Graph {
    handle: u32,
    name: &'static str,
}

impl Graph {
    /// Asks the host for its model `name`.
    pub(crate) fn load(name: &'static str) -> Result<Graph, Failure> {
        match host::load_by_name(name) {
            Ok(handle) => Ok(Graph { handle, name }),
            Err(errno) => Err(Failure::network(name, "could not be loaded", errno)),
        }
    }

    /// An interpreter with tensors of its own.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        match host::init_execution_context(self.handle) {
            Ok(handle) => Ok(Context { handle, name: self.name }),
            Err(errno) => Err(Failure::network(self.name, "got no execution context", errno)),
        }
    }
}

/// An execution context; the host frees it when this is dropped.
pub(crate) struct Context {
    handle: u32,
    name: &'static str,
}

impl Context {
    /// Copies `data`, a dense tensor of `dimensions`, into input 0.
    pub(crate) fn set_input(&mut self, dimensions: &[u32], kind: TensorType, data: &[u8]) -> Result<(), Failure> {
        self.check("refused its input", host::set_input(self.handle, 0, dimensions, kind, data))
    }

    /// Runs the model on its input.
    pub(crate) fn compute(&mut self) -> Result<(), Failure> {
        self.check("failed", host::compute(self.handle))
    }

    /// Fills `buffer` with output `index`; an output of another size is a failure of the model.
    pub(crate) fn get_output(&mut self, index: u32, buffer: &mut [u8]) -> Result<(), Failure> {
        const TOO_LARGE: u32 = 7;
        match host::get_output(self.handle, index, buffer) {
            Ok(written) if written == buffer.len() => Ok(()),
            Ok(_) => Err(Failure::model(self.name, "has an output smaller than expected: is it the right model?")),
            Err(TOO_LARGE) => {
                Err(Failure::model(self.name, "has an output larger than expected: is it the right model?"))
            }
            Err(errno) => Err(Failure::network(self.name, "did not give its output", errno)),
        }
    }

    /// Fills `buffer` with output `index`, an output of single-precision numbers.
    pub(crate) fn get_floats(&mut self, index: u32, buffer: &mut [f32]) -> Result<(), Failure> {
        self.get_output(index, bytes_of_mut(buffer))
    }

    fn check(&self, what: &'static str, errno: u32) -> Result<(), Failure> {
        if errno == 0 {
            Ok(())
        } else {
            Err(Failure::network(self.name, what, errno))
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        host::finalize_execution_context(self.handle);
    }
}
