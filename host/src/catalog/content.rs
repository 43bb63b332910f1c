//! What a file contains, by its hash. Learned when somebody has to know: reading a thousand manifests is quick, hashing
//! a thousand files is not.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use sha2::{Digest, Sha256};

use super::candidate::Candidate;
use crate::manifest::FileIdentity;

/// The hash of a candidate's file, once it is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Content(OnceLock<Arc<str>>);

impl Candidate {
    /// SHA-256 of the file in 64 lower-case hexadecimal digits, where it is known already.
    pub fn known_hash(&self) -> Option<&str> {
        self.content.0.get().map(|hash| &**hash)
    }

    /// Notes the hash of the file, as found where it was copied. The first one stays.
    pub fn learn_hash(&self, hash: &str) {
        self.content.0.get_or_init(|| hash.into());
    }

    /// The hash of the file, which is read where it is not known. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// Where the file can't be read, or is another one by now.
    pub fn hash(&self) -> io::Result<&str> {
        if let Some(known) = self.known_hash() {
            return Ok(known);
        }
        let is_same = || Ok::<_, io::Error>(FileIdentity::of(&fs::metadata(&self.path)?) == self.identity);
        let hash = hash_of(&self.path)?;
        if !is_same()? {
            return Err(io::Error::other("the file has changed"));
        }
        Ok(self.content.0.get_or_init(|| hash.into()))
    }
}

/// SHA-256 of a file in lower-case hexadecimal digits.
fn hash_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
