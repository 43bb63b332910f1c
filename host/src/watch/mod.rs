//! The plugins folder's events: tells when the folder has changed and is quiet enough to be read. It reads no
//! module itself.

mod settle;
mod watcher;

pub use watcher::{Watch, WatchMode, WatchSettings};
