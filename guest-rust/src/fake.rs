//! A host for tests: networks that are functions from one input tensor to output tensors.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::tensor_type::TensorType;

/// From dimensions and data of the input to the outputs, or to an errno.
pub(crate) type Network = fn(&[u32], &[u8]) -> Result<Vec<Vec<u8>>, u32>;

#[derive(Default)]
struct Host {
    networks: Vec<(&'static str, Network)>,
    contexts: HashMap<u32, Execution>,
    contexts_made: u32,
}

#[derive(Default)]
struct Execution {
    graph: usize,
    dimensions: Vec<u32>,
    input: Vec<u8>,
    outputs: Vec<Vec<u8>>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Makes `networks` the models that this thread's host knows.
pub(crate) fn serve(networks: &[(&'static str, Network)]) {
    HOST.with(|host| host.borrow_mut().networks = networks.to_vec());
}

/// How many contexts live, and how many were ever made.
pub(crate) fn contexts() -> (usize, u32) {
    HOST.with(|host| (host.borrow().contexts.len(), host.borrow().contexts_made))
}

fn with_context<T>(handle: u32, action: impl FnOnce(&mut Execution, &[(&'static str, Network)]) -> T) -> T {
    HOST.with(|host| {
        let host = &mut *host.borrow_mut();
        action(host.contexts.get_mut(&handle).expect("a live context"), &host.networks)
    })
}

pub(crate) fn load_by_name(name: &str) -> Result<u32, u32> {
    HOST.with(|host| {
        host.borrow().networks.iter().position(|network| network.0 == name).map_or(Err(8), |at| Ok(at as u32))
    })
}

pub(crate) fn init_execution_context(graph: u32) -> Result<u32, u32> {
    HOST.with(|host| {
        let mut host = host.borrow_mut();
        host.contexts_made += 1;
        let handle = host.contexts_made;
        host.contexts.insert(handle, Execution { graph: graph as usize, ..Execution::default() });
        Ok(handle)
    })
}

pub(crate) fn set_input(context: u32, index: u32, dimensions: &[u32], kind: TensorType, data: &[u8]) -> u32 {
    // Under the number of bytes travel 16-bit integers too.
    let bytes: &[usize] = match kind {
        TensorType::U8 => &[1, 2],
        TensorType::F16 => &[2],
        TensorType::F32 => &[4],
    };
    assert_eq!(index, 0);
    let elements = dimensions.iter().product::<u32>() as usize;
    assert!(bytes.iter().any(|size| elements * size == data.len()));
    with_context(context, |execution, _| {
        execution.dimensions = dimensions.to_vec();
        execution.input = data.to_vec();
    });
    0
}

pub(crate) fn compute(context: u32) -> u32 {
    with_context(context, |execution, networks| {
        match networks[execution.graph].1(&execution.dimensions, &execution.input) {
            Ok(outputs) => {
                execution.outputs = outputs;
                0
            }
            Err(errno) => errno,
        }
    })
}

pub(crate) fn get_output(context: u32, index: u32, buffer: &mut [u8]) -> Result<usize, u32> {
    with_context(context, |execution, _| {
        let output = execution.outputs.get(index as usize).ok_or(1u32)?;
        buffer.get_mut(..output.len()).ok_or(7u32)?.copy_from_slice(output);
        Ok(output.len())
    })
}

pub(crate) fn finalize_execution_context(context: u32) {
    HOST.with(|host| host.borrow_mut().contexts.remove(&context));
}
