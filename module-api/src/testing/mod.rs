//! A host in memory, for the tests of a module in plain `cargo test`: no library is loaded, no port opened, no
//! runtime needed. Not for measuring, and not for what only a host can know: other modules, tokens, reloads.
//!
//! Behind feature `testing`; a module names it in its `[dev-dependencies]`, so its library never has it:
//!
//! ```toml
//! [dev-dependencies]
//! module-api = { version = "1", features = ["testing"] }
//! ```
//!
//! A test reads like a client:
//!
//! ```
//! use module_api::{prelude::*, testing::TestHost};
//!
//! struct Greeter;
//!
//! impl Module for Greeter {
//!     async fn initialize(_: Tenant) -> Result<Self> {
//!         Ok(Self)
//!     }
//!     fn routes(routes: &mut Routes<Self>) {
//!         routes.get("/hello/{name}", Self::hello);
//!     }
//! }
//!
//! impl Greeter {
//!     async fn hello(&self, request: Request) -> Result<Response> {
//!         Ok(Response::text(format!("Hello, {}!", request.param("name"))))
//!     }
//! }
//!
//! const MANIFEST: &str = r#"
//!     name = "greeter"
//!     [routes]
//!     base = "/api/v1/greeter"
//!     [[routes.endpoints]]
//!     path = "/hello/{name}"
//!     method = "GET"
//! "#;
//!
//! // In a module's own tests, `TestHost::<Greeter>::new()` reads its module.toml.
//! let host = TestHost::<Greeter>::with_manifest(MANIFEST).user("ada");
//! assert_eq!(host.get("/hello/Grace").expect(200).text(), "Hello, Grace!");
//!
//! let stranger = host.request("GET", "/hello/Grace").anonymous().send();
//! assert_eq!((stranger.status, stranger.code()), (401, "UNAUTHENTICATED"));
//! ```

mod answer;
mod asking;
mod calls;
mod conformance;
mod deliveries;
mod delivering;
mod executor;
mod find;
mod guards;
mod host;
mod instance;
mod key;
mod lend;
mod manifest;
mod outside;
mod request;
mod response;
mod scope;
mod store;
mod world;

pub use answer::TestAnswer;
pub use calls::CalledRequest;
pub use conformance::{conformance, conformance_of};
pub use deliveries::DeadLetter;
pub use host::TestHost;
pub use outside::OutsideRequest;
pub use request::TestRequest;
pub use response::TestResponse;
pub use serde_json::{Value, json};
