//! The host's own configuration: `tenon.toml`, the environment and the command line, read into one [`Config`].
//!
//! Refuses unknown keys and values out of range, and says all that is wrong at once, each with its place. It
//! opens no file but `tenon.toml`: whether a key file can be read is the business of room `identity`.

mod auth;
mod error;
mod load;
mod ofrep;
mod read;
mod rules;
mod section;
mod settings;
mod store;
mod value;

pub use auth::{Auth, AuthJwks, AuthKey, ClaimNames, JwksSource, KeyAlgorithm};
pub use error::{ConfigErrors, ConfigProblem, Place};
pub use load::{Flags, Layers};
pub use ofrep::Ofrep;
pub use settings::{
    Config, Containment, Deliveries, FeatureFlags, Limits, Log, LogFormat, ModuleLimits, ModuleOverride, Outbound,
    Proxies, Reload, Runtime, RuntimeMode, Secrets, Tenancy, TenantSource, Watch, WatchMode,
};
pub use store::{Cache, ServerUri, StoreKind};

#[cfg(test)]
mod tests;
