//! Opening, calling and unloading native modules. All of the host's unsafe code is here.
//!
//! Refuses to know tenants, HTTP listeners and stores: what a module may ask of them comes in as
//! [`HostServices`], and what it is asked goes in as [`CallRequest`]. Refuses to promise an unload that it
//! did not observe: each generation ends as [`Outcome::Unloaded`] or [`Outcome::Resident`] with a reason.
//!
//! Files, in the order of a generation's life: `opening` is the front; `staging` copies the file, `library`
//! opens and checks the copy, `generation` and `instance` are what others hold, `call` and `reply` carry one request, `forwarded` is what a
//! proxy says of it, `hosting`
//! and `logging` are what the module may ask, `reaper` unloads. `interpose` and `footprint` know what the
//! module left behind on the host's threads. `presence` and `watchdog` know which thread is in whose code, and
//! for how long. `allocator` is about the memory that all of them share.

mod staging;

mod library;
mod objects;

mod generation;
mod instance;

mod call;
mod forwarded;
mod lend;
mod reply;

mod failure;
mod fence;
mod hosting;
mod logging;
mod origin;
mod services;

mod flood;
mod presence;
mod roll;
mod watchdog;

mod footprint;
#[cfg(test)]
mod footprint_tests;
mod interpose;

mod opening;
mod reaper;
mod report;

mod error;

mod allocator;

pub use allocator::share_arenas;
pub use call::{Call, CallRequest};
pub use error::{LoadError, Route};
pub use footprint::sweep_this_thread;
pub use forwarded::{Forwarded, is_of_proxies};
pub use generation::Generation;
pub use instance::{ClaimedWork, Hook, Instance};
pub use interpose::installed;
pub use opening::{Loader, LoaderSettings, OpenRequest};
pub use reaper::Sweeper;
pub use reply::{Reply, ReplyBody, ReplyStream};
pub use report::{GenerationInfo, LoaderReport, Outcome, ResidentGeneration};
pub use services::{
    Answer, Behalf, BlockingJob, ClaimToken, Documents, Failure, FailureKind, Fetch, HostServices, ModuleCall,
    ServiceFuture, StoreAction, StoreAnswer, StoreOp,
};
pub use watchdog::{OnStuck, Stuck};
