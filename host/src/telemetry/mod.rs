//! The host's log and the ids that tie its lines to requests.
//!
//! Writes to stderr only: stdout belongs to a command's data. Collects nothing and sends nothing anywhere.

mod log;
mod request_id;

pub use log::{LogError, LogStyle, start_log};
pub use request_id::RequestId;
