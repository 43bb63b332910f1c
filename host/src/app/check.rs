//! What a host would read at its start beside the configuration, read without starting one.

use std::error::Error;

use super::{
    builder::{StartError, of_definitions},
    ofrep::shared_ticket_key,
    stores,
};
use crate::{config::Config, identity::Verifier};

/// Reads the files that the configuration names, as a host would at its start: the flag definitions, the addresses of store
/// and cache, keys for tokens and for tickets. Nothing is made, and nobody is connected to. Returns what would keep a host
/// from starting, one text for each problem; none where it would start.
pub fn check_files(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    match of_definitions(config) {
        Err(StartError::Definitions { file, source }) => {
            problems.extend(source.problems().iter().map(|problem| format!("{}: {problem}", file.display())));
        }
        read => problems.extend(read.err().map(|error| with_causes(&error))),
    }
    problems.extend(stores::check(config).iter().map(|error| with_causes(error)));
    if let Err(errors) = Verifier::new(&config.auth) {
        problems.extend(errors.errors().iter().map(ToString::to_string));
    }
    problems.extend(shared_ticket_key(config).err().map(|error| with_causes(&error)));
    problems
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
