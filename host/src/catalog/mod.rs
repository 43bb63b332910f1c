//! What could run: every module file in a folder, by name and version, and the questions that can be answered
//! from manifests alone. Refuses to open a library, to know a tenant's document, or to decide what does run.

mod archive;
mod candidate;
mod check;
mod content;
mod finding;
mod graph;
mod judge;
mod listing;
mod scan;
mod select;
mod solve;

#[cfg(test)]
mod tests;

pub use archive::Archive;
pub use candidate::{Build, Candidate, Rejected};
pub use check::{CheckReport, check};
pub use finding::{Finding, text};
pub use graph::{Cycle, DependencyGraph, Disabling, Resolution, Validation};
pub use judge::CandidateProblem;
pub use listing::{Catalog, Changes};
pub use scan::{ScanError, rescan, scan};
pub use select::{Chosen, Selection, SelectionProblem, Standing, Unjudged, select};
