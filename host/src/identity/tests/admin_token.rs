//! The operators' token and its file.

use std::{fs, os::unix::fs::PermissionsExt};

use super::super::*;

#[test]
fn it_is_made_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    assert!(AdminToken::load(&path).is_err());
    let made = AdminToken::load_or_create(&path).unwrap();
    assert_eq!(made.as_str().len(), 43, "32 bytes as base64url");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(AdminToken::load_or_create(&path).unwrap(), made);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    assert!(!format!("{made:?}").contains(made.as_str()));
}

#[test]
fn several_hosts_at_once_get_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    let make = || AdminToken::load_or_create(&path).unwrap();
    let tokens: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(tokens.iter().all(|token| *token == tokens[0]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn only_the_whole_token_matches() {
    let folder = tempfile::tempdir().unwrap();
    let token = AdminToken::load_or_create(&folder.path().join("t")).unwrap();
    let text = token.as_str();
    assert!(token.matches(text));
    for wrong in ["", &text[1..], &text[..42], &format!("{text} "), &text.to_ascii_uppercase()] {
        assert!(!token.matches(wrong), "{wrong}");
    }
}

#[test]
fn a_file_that_is_no_secret_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.token");
    let write = |content: &str, mode| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        AdminToken::load_or_create(&path)
    };
    let own = "a-token-of-the-operators-own-making\n";
    assert_eq!(write(own, 0o640).unwrap().as_str(), own.trim());
    assert!(matches!(write(own, 0o644), Err(AdminTokenError::Exposed { .. })));
    for bad in ["", "short", "two words that are long enough to be one"] {
        assert!(matches!(write(bad, 0o600), Err(AdminTokenError::Malformed { .. })), "{bad}");
    }
    let missing = folder.path().join("no/such/folder/t");
    assert!(matches!(AdminToken::load_or_create(&missing), Err(AdminTokenError::Create { .. })));
}
