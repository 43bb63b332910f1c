//! The versions of module `shifter`: the built library with another mark and another version in its manifest, each
//! with a content of its own, so that none is held to be one that was tried before.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    failure::{Doing, Failure, Result},
    tenants::{built_beside, tenant_name},
};

/// The name of the module.
pub(super) const MODULE: &str = "shifter";

/// Where its routes are.
pub(super) const BASE: &str = "/bench/shifter";

/// The mark of the built library; all marks have its length.
const MARK: &[u8] = b"serial 100000 calm......................";

/// The version in its manifest.
const VERSION: &[u8] = b"1.0.100000";

/// The number of the first version: all have six digits.
const FIRST: usize = 100_000;

/// What a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// It answers.
    Calm,
    /// It fails to initialize, so that nobody may ever get an answer of it.
    Refuses,
    /// One of its requests panics.
    Panics,
    /// Its `initialize` takes a second for the last tenant.
    Slow,
}

/// Which version follows which. Of eight, one refuses and one panics, each between good ones; of forty, one is slow.
pub(super) fn mood_of(version: usize) -> Mood {
    match (version % 8, version % 40) {
        (3, _) => Mood::Refuses,
        (6, _) => Mood::Panics,
        (_, 20) => Mood::Slow,
        _ => Mood::Calm,
    }
}

/// Makes versions and puts them in the place of each other.
#[derive(Debug)]
pub(super) struct Versions {
    library: Vec<u8>,
    marks: Vec<usize>,
    manifests: Vec<usize>,
    plugins: PathBuf,
    panics_at: u32,
    tenants: usize,
}

impl Versions {
    /// Reads the built library.
    pub(super) fn new(plugins: &Path, tenants: usize, panics_at: u32) -> Result<Self> {
        let path = built_beside("examples/libshifter.so")?;
        let library = fs::read(&path).doing(format_args!("read `{}`", path.display()))?;
        let (marks, manifests) = (places_of(&library, MARK), places_of(&library, VERSION));
        if marks.is_empty() || manifests.is_empty() {
            return Err(Failure::new(format!("`{}` is not as expected: it has no mark or no version", path.display())));
        }
        Ok(Self { library, marks, manifests, plugins: plugins.to_owned(), panics_at, tenants })
    }

    /// Writes a version beside its place.
    pub(super) fn write(&self, version: usize, mood: Mood) -> Result<Written> {
        let number = FIRST + version;
        let mood = match mood {
            Mood::Calm => "calm".to_owned(),
            Mood::Refuses => "refuses".to_owned(),
            Mood::Panics => format!("panics at {}", self.panics_at),
            Mood::Slow => format!("slow for {}", tenant_name(self.tenants - 1)),
        };
        let mark = format!("{:.<width$}", format!("serial {number} {mood}"), width = MARK.len());
        let mut bytes = self.library.clone();
        let mut put = |places: &[usize], text: &str| {
            for at in places {
                bytes[*at..*at + text.len()].copy_from_slice(text.as_bytes());
            }
        };
        put(&self.marks, &mark);
        put(&self.manifests, &format!("1.0.{number}"));
        let beside = self.plugins.with_extension("part");
        fs::write(&beside, bytes).doing(format_args!("write `{}`", beside.display()))?;
        Ok(Written { beside, place: self.plugins.join("shifter.so") })
    }
}

/// A version that is not in its place yet.
#[derive(Debug)]
pub(super) struct Written {
    beside: PathBuf,
    place: PathBuf,
}

impl Written {
    /// Puts it in its place, all at once.
    pub(super) fn put_in_place(self) -> Result<()> {
        fs::rename(self.beside, &self.place).doing(format_args!("replace `{}`", self.place.display()))
    }
}

fn places_of(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text).map(|(at, _)| at).collect()
}

/// The version that a mark is of; `None` where the text is no mark.
pub(super) fn version_of_mark(mark: &[u8]) -> Option<usize> {
    let digits = mark.strip_prefix(b"serial ")?.get(..6).filter(|_| mark.len() == MARK.len())?;
    std::str::from_utf8(digits).ok()?.parse::<usize>().ok()?.checked_sub(FIRST)
}

/// The version with a manifest's version.
pub(super) fn version_of_text(version: &str) -> Option<usize> {
    version.strip_prefix("1.0.")?.parse::<usize>().ok()?.checked_sub(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_versions_stand_between_good_ones() {
        assert_eq!([mood_of(3), mood_of(6), mood_of(20)], [Mood::Refuses, Mood::Panics, Mood::Slow]);
        let is_good = |version| matches!(mood_of(version), Mood::Calm | Mood::Slow);
        assert!((0..200).all(|version| is_good(version) || (is_good(version - 1) && is_good(version + 1))));
    }

    #[test]
    fn a_mark_tells_its_version() {
        assert_eq!(version_of_mark(MARK), Some(0));
        assert_eq!(version_of_mark(b"serial 100012 panics at 1000............"), Some(12));
        assert_eq!(version_of_mark(b"serial 100012 panics"), None);
        assert_eq!(version_of_text("1.0.100012"), Some(12));
    }
}
