//! What the loader tells about itself. Plain data.

use std::path::PathBuf;

use super::watchdog::Stuck;

/// One generation: a loaded copy of a module's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationInfo {
    /// The module's name.
    pub name: String,
    /// The module's version.
    pub version: String,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub hash: String,
    /// Counts the generations of this process, from 1.
    pub serial: u64,
    /// The private copy that is mapped.
    pub staged: PathBuf,
    /// How much of the address space it takes.
    pub bytes: u64,
}

/// How a generation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is gone from the process's map; this was looked up.
    Unloaded,
    /// It stays mapped, for this reason.
    Resident(String),
}

/// A generation that is out of service and still mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidentGeneration {
    /// The module's name.
    pub name: String,
    /// The module's version.
    pub version: String,
    /// The generation's number.
    pub serial: u64,
    /// Why it stays.
    pub reason: String,
    /// How much of the address space it takes.
    pub bytes: u64,
}

/// The state of the loader at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderReport {
    /// Whether the host sees thread-locals, keys and threads of modules. Where it does not, nothing is
    /// unloaded.
    pub interposed: bool,
    /// In use, by number.
    pub live: Vec<GenerationInfo>,
    /// Out of use, not yet unloaded, by number.
    pub closing: Vec<GenerationInfo>,
    /// Out of use and still mapped, by number. One that waits for a thread of the module is unloaded when the
    /// thread ends.
    pub resident: Vec<ResidentGeneration>,
    /// How many were unloaded since the start.
    pub unloaded: u64,
    /// How many thread-local values of unloaded modules were left behind on threads that did not answer.
    pub forgotten_entries: u64,
    /// Module code that does not give its thread back, the longest first.
    pub stuck: Vec<Stuck>,
}

impl LoaderReport {
    /// How many libraries are mapped.
    pub fn mapped(&self) -> usize {
        self.live.len() + self.closing.len() + self.resident.len()
    }

    /// How many bytes of address space are held by generations that can't be unloaded.
    pub fn resident_bytes(&self) -> u64 {
        self.resident.iter().map(|resident| resident.bytes).sum()
    }
}
