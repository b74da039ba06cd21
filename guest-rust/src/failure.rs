//! Why a request was not answered, in the words of the ABI: a status, an errno and a message.

/// What kind of failure it is: the status field of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The request cannot be answered as it stands.
    BadRequest = 1,
    /// A host function returned an errno.
    Network = 2,
    /// An allocation failed.
    OutOfMemory = 3,
    /// Anything else, such as a model whose output has an unexpected size.
    Other = 4,
    /// A model answered with NaN or infinity where a number must be.
    NoNumber = 5,
}

/// A failure; its message is `subject` followed by `what`, so that none has to be formatted before it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The kind of failure.
    pub(crate) status: Status,
    /// The host's errno where `status` is `Network`, else 0.
    pub(crate) errno: u32,
    /// What failed: the name of a model or of a field.
    pub(crate) subject: &'static str,
    /// What happened to it.
    pub(crate) what: &'static str,
}

impl Failure {
    /// A request that cannot be answered because of the field `subject`.
    pub(crate) const fn bad_request(subject: &'static str, what: &'static str) -> Failure {
        Failure { status: Status::BadRequest, errno: 0, subject, what }
    }

    /// The host function `what` returned `errno` for the model `subject`.
    pub(crate) const fn network(subject: &'static str, what: &'static str, errno: u32) -> Failure {
        Failure { status: Status::Network, errno, subject, what }
    }

    /// A model `subject` that answers with something else than the task expects.
    pub(crate) const fn model(subject: &'static str, what: &'static str) -> Failure {
        Failure { status: Status::Other, errno: 0, subject, what }
    }

    /// A model `subject` whose answer is NaN or infinite.
    pub(crate) const fn no_number(subject: &'static str) -> Failure {
        Failure {
            status: Status::NoNumber,
            errno: 0,
            subject,
            what: "answered with a score that is not a finite number",
        }
    }

    /// An allocation failed.
    pub(crate) const fn out_of_memory() -> Failure {
        Failure { status: Status::OutOfMemory, errno: 0, subject: "the guest", what: "has no memory left" }
    }

    /// Writes the message into `text`, cut to its length, and returns how many bytes it took.
    pub(crate) fn write(&self, text: &mut [u8]) -> usize {
        let mut digits = [0u8; 10];
        let mut used = digits.len();
        let mut rest = self.errno;
        while rest > 0 {
            used -= 1;
            digits[used] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        let errno: &[u8] = if self.errno > 0 { b": errno " } else { b"" };
        let parts = [self.subject.as_bytes(), b" ", self.what.as_bytes(), errno, &digits[used..]];
        let mut length = 0;
        for part in parts {
            let count = part.len().min(text.len() - length);
            text[length..length + count].copy_from_slice(&part[..count]);
            length += count;
        }
        length
    }
}

impl From<std::collections::TryReserveError> for Failure {
    fn from(_: std::collections::TryReserveError) -> Failure {
        Failure::out_of_memory()
    }
}

/// Makes `buffer` exactly `length` long; what is new is `value`. Never shrinks its memory.
pub(crate) fn resize<T: Clone>(buffer: &mut Vec<T>, length: usize, value: T) -> Result<(), Failure> {
    if length > buffer.capacity() {
        // The old contents are never needed: dropping them first halves the peak of a growing buffer.
        *buffer = Vec::new();
        buffer.try_reserve_exact(length)?;
    }
    buffer.resize(length, value);
    Ok(())
}

/// Appends `value`, or fails where the memory does not suffice.
pub(crate) fn push<T>(list: &mut Vec<T>, value: T) -> Result<(), Failure> {
    list.try_reserve(1)?;
    list.push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(failure: Failure) -> String {
        let mut bytes = [0; 64];
        let length = failure.write(&mut bytes);
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_message_names_subject_and_errno() {
        assert_eq!(text(Failure::network("pnet", "compute failed", 5)), "pnet compute failed: errno 5");
        assert_eq!(text(Failure::network("x", "y", 4_000_000_010)), "x y: errno 4000000010");
        assert_eq!(text(Failure::bad_request("factor", "must lie between 0 and 1")), "factor must lie between 0 and 1");
    }

    #[test]
    fn a_long_message_is_cut() {
        let mut short = [0; 7];
        assert_eq!(Failure::model("onet", "answers nonsense").write(&mut short), 7);
        assert_eq!(&short, b"onet an");
    }

    #[test]
    fn a_buffer_that_cannot_grow_is_out_of_memory() {
        let mut buffer = Vec::<u64>::new();
        assert_eq!(resize(&mut buffer, usize::MAX / 8, 0).unwrap_err().status, Status::OutOfMemory);
        assert!(resize(&mut buffer, 9, 3).is_ok());
        assert_eq!(buffer, [3; 9]);
    }
}
