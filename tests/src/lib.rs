//! What the end-to-end tests share: services that a test can look into, threads like the host's, and the way
//! from a module's file to an answer without the host's upper rooms. Servers that may be killed are here for the
//! benchmarks too.

mod fake;
mod module_file;
mod server;
mod workers;

pub use fake::FakeServices;
pub use module_file::ModuleFile;
pub use server::Server;
pub use workers::{Asked, Workers, ask, request};
