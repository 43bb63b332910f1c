//! Everything the author of a Tenon module sees.
//!
//! A module is a `cdylib` crate with a `module.toml` beside its `Cargo.toml`. It implements [`Module`] and
//! names the type in [`export_module!`]. Everything it may ask of the host goes through [`Tenant`].
//!
//! The author writes safe Rust only: no type of the binary interface shows here. The interface itself is in
//! [`abi`] and [`stamp`], for the host.
//!
//! # Stability
//!
//! A module built against an older version of this crate keeps working on a newer host of the same major
//! version. Services are only ever added at the end, each with a default body that answers with an error
//! naming the service.

// Each `#[sabi_trait]` of abi_stable 0.11.3 expands to an impl that this lint flags.
#![expect(non_local_definitions, reason = "as the comment above says")]

mod body;
mod collection;
mod error;
mod event;
mod export;
mod guard;
mod handler;
mod log;
mod module;
mod outgoing;
mod request;
mod response;
mod routes;
mod tenant;

pub mod abi;
pub mod rest;
pub mod stamp;
#[cfg(feature = "testing")]
pub mod testing;

pub use body::BodyStream;
pub use collection::{Collection, Document, Page, Query, Value};
pub use error::{Error, Fault, Result, ServiceError, StoreError};
pub use event::Event;
pub use handler::Handler;
pub use module::Module;
pub use outgoing::{Answer, Fetch, ModuleCall};
pub use request::Request;
pub use response::{IntoResponse, Json, Response};
pub use routes::{Method, Routes};
pub use tenant::Tenant;
pub use tracing;

/// What a module file usually needs: `use module_api::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Answer, Collection, Document, Error, Event, Fault, IntoResponse, Json, Module, Page, Query, Request, Response,
        Result, Routes, ServiceError, StoreError, Tenant, tracing,
    };
}

/// For [`export_module!`] only; not part of the stable surface.
#[doc(hidden)]
pub mod __private {
    pub use crate::export::{Header, header, module_stamp, section};
    pub use crate::stamp::Stamp;
}

/// The version of this crate, which is the version of the contract between host and module.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
