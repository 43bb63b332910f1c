//! A host in memory, for the tests of a module in plain `cargo test`: no library is loaded, no port opened, no
//! runtime needed. Not for measuring, and not for what only a host can know: tokens, reloads, other tenants, settings
//! against their schema, how deep calls are inside each other.
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
//!
//! The world around the module is the test's: [`TestHost::module`] answers in the place of a dependency and
//! [`TestHost::outside`] in that of a host outside, [`TestRequest::as_module`] asks as another module would,
//! [`TestHost::deliver`] brings an event, and [`TestHost::advance`] lets time pass, with its wake-ups:
//!
//! ```
//! use std::time::Duration;
//!
//! use module_api::{Event, prelude::*, testing::{TestAnswer, TestHost, json}};
//!
//! /// Greets whoever is new, a day later and by name.
//! struct Greeter(Tenant);
//!
//! impl Module for Greeter {
//!     async fn initialize(tenant: Tenant) -> Result<Self> {
//!         Ok(Self(tenant))
//!     }
//!     fn routes(_: &mut Routes<Self>) {}
//!     async fn on_event(&self, event: Event) -> Result<()> {
//!         let id: String = event.json()?;
//!         Ok(self.0.wake_at(&id, self.0.now() + Duration::from_secs(86_400)).await?)
//!     }
//!     async fn on_wake(&self, id: String) -> Result<()> {
//!         let path = format!("/employees/{id}");
//!         let name: Option<String> = match self.0.call_as_module("hr-core").get(&path).await? {
//!             Some(answer) if answer.is_success() => Some(answer.json()?),
//!             _ => None,
//!         };
//!         Ok(self.0.publish("greeted", &name).await?)
//!     }
//! }
//!
//! const MANIFEST: &str = r#"
//!     name = "greeter"
//!     publishes = ["greeted"]
//!     subscribes = ["hr-core:employee.hired"]
//!     [dependencies]
//!     hr-core = "^1"
//! "#;
//!
//! let host = TestHost::<Greeter>::with_manifest(MANIFEST).module("hr-core", |request| {
//!     assert!(request.as_module);
//!     match request.line().as_str() {
//!         "GET /employees/7" => TestAnswer::json(&"Grace"),
//!         _ => TestAnswer::refusal(404, "hr-core:employee-not-found"),
//!     }
//! });
//! host.deliver("hr-core", "employee.hired", &"7").expect("it is handled");
//! assert_eq!(host.wakes()[0].0, "7");
//! host.advance(Duration::from_secs(86_400));
//! assert_eq!(host.published(), [("greeted".to_owned(), json!("Grace"))]);
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
