//! Where the operators' token is looked for.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::failure::Failure;
use crate::identity::{AdminToken, AdminTokenError};

/// Reads the token: from the file that was named, else from the data folder. A file that was named and can't be read
/// ends the search: a token from elsewhere would be another host's.
///
/// # Errors
///
/// All files that were tried.
pub(super) fn find(named: Option<&Path>, data: Option<PathBuf>) -> Result<AdminToken, Failure> {
    let places: Vec<PathBuf> = match named {
        Some(file) => vec![file.to_owned()],
        None => data.into_iter().chain(["./data".into()]).map(|folder| folder.join("admin.token")).collect(),
    };
    let mut tried = Vec::new();
    for place in places {
        match AdminToken::load(&place) {
            Ok(token) => return Ok(token),
            Err(error) => {
                let is_absent =
                    matches!(&error, AdminTokenError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound);
                tried.push((place, error));
                if !is_absent {
                    break;
                }
            }
        }
    }
    Err(Failure::Token(tried))
}
