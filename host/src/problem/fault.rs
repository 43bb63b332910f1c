//! Faults: refusals that a module's author declared, sent under the module's name.

use super::{
    body::{Kind, Problem},
    code::Code,
};
use crate::names::ModuleName;

/// A checked fault: `MODULE:CODE` and a 4xx.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    code: String,
    status: u16,
}

/// What a fault becomes that breaks the rules: the client gets [`Code::Internal`], the log the reason.
#[derive(Debug)]
pub struct FaultRefused {
    /// To send.
    pub problem: Problem,
    /// To log.
    pub reason: FaultRefusedError,
}

/// Which rule a fault breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FaultRefusedError {
    /// A module may blame the request, not the host.
    #[error("a fault must ask for a status of 400 to 499, this one asks for {0}")]
    Status(u16),
    /// The code would not be a stable name.
    #[error("a fault's code is 1 to 64 letters, digits, `_`, `.` and `-`")]
    Code,
}

impl Fault {
    pub(super) fn code(&self) -> &str {
        &self.code
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }
}

impl Problem {
    /// A fault of a module: `code` is sent as `MODULE:CODE`, `message` as it stands.
    ///
    /// # Errors
    ///
    /// A status outside 4xx, or a code that is no plain name: what to send and log instead.
    pub fn module_fault(
        module: &ModuleName,
        code: &str,
        message: String,
        status: u16,
    ) -> Result<Self, Box<FaultRefused>> {
        let refuse = |reason| Err(Box::new(FaultRefused { problem: Self::internal(), reason }));
        if !(400..500).contains(&status) {
            return refuse(FaultRefusedError::Status(status));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if !(1..=64).contains(&code.len()) || !code.bytes().all(plain) {
            return refuse(FaultRefusedError::Code);
        }
        let fault = Fault { code: format!("{module}:{code}"), status };
        Ok(Self::of_kind(Kind::Module(fault), message.into()))
    }

    /// [`Code::Internal`]: something went wrong that is none of the client's business.
    pub fn internal() -> Self {
        Self::new(Code::Internal, "An internal error occurred")
    }
}
