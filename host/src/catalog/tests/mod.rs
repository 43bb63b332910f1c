//! The room's tests, through what it offers to others.

mod files;
mod graphs;
mod selections;

use std::{path::PathBuf, sync::Arc};

use semver::Version;

use super::{Candidate, Catalog};
use crate::{
    manifest::{Manifest, sample},
    names::ModuleName,
};

fn name(text: &str) -> ModuleName {
    text.parse().unwrap()
}

fn names<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<ModuleName> {
    texts.into_iter().map(name).collect()
}

/// The text of a manifest: name, version, top-level lines, then dependencies.
fn manifest(module: &str, version: &str, lines: &str, dependencies: &[(&str, &str)]) -> String {
    let mut text = format!("name = \"{module}\"\nversion = \"{version}\"\n{lines}\n[dependencies]\n");
    for (dependency, wanted) in dependencies {
        match wanted.strip_prefix('?') {
            Some(range) => text.push_str(&format!("{dependency} = {{ version = \"{range}\", optional = true }}\n")),
            None => text.push_str(&format!("{dependency} = \"{wanted}\"\n")),
        }
    }
    text
}

/// A candidate that no file stands behind. A range that begins with `?` is an optional dependency's.
fn candidate(module: &str, version: &str, lines: &str, dependencies: &[(&str, &str)]) -> Arc<Candidate> {
    let text = manifest(module, version, lines, dependencies);
    let manifest = Manifest::parse(text.as_bytes(), &sample::stamp_fields(), &Version::new(1, 0, 0)).unwrap();
    Arc::new(Candidate::sample(PathBuf::from(format!("plugins/{module}-{version}.so")), manifest))
}

fn catalog(candidates: &[Arc<Candidate>]) -> Catalog {
    Catalog::of(candidates.iter().cloned(), &|_| false)
}
