//! The HTTP error body: one type for every refusal that leaves the host, as RFC 9457 `application/problem+json`.
//!
//! The texts that users see are written here and nowhere else. Refuses any status that is not 4xx or 5xx, and
//! knows nothing of causes: the edge logs the chain under the request id and sends only what stands here.

mod body;
mod code;
mod fault;
mod texts;

pub use body::{CONTENT_TYPE, Problem};
pub use code::Code;
pub use fault::{FaultRefused, FaultRefusedError};

#[cfg(test)]
mod tests;
