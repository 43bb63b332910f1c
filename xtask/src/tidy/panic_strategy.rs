//! No profile and no flag sets `panic = "abort"`: a panic in a module must end at the module's edge.

use super::{Finding, tree::Tree};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_cargos = |path: &str| path.ends_with("Cargo.toml") || path.contains(".cargo/");
    for file in tree.files().iter().filter(|file| is_cargos(&file.path)) {
        match file.text.parse::<toml::Table>() {
            Ok(table) => walk(&toml::Value::Table(table), "", &mut |key| {
                findings.push(Finding::new(
                    &file.path,
                    0,
                    format!("`{key}` aborts on a panic, which modules must survive"),
                ));
            }),
            Err(error) => findings.push(Finding::new(&file.path, 0, format!("no TOML: {}", error.message()))),
        }
    }
    findings
}

/// Names each key that makes a panic abort.
fn walk(value: &toml::Value, key: &str, found: &mut dyn FnMut(&str)) {
    match value {
        toml::Value::Table(table) => {
            for (name, value) in table {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                if name == "panic" && value.as_str().is_some_and(|text| text != "unwind") {
                    found(&key);
                }
                walk(value, &key, found);
            }
        }
        toml::Value::Array(values) => values.iter().for_each(|value| walk(value, key, found)),
        toml::Value::String(text) if text.contains("panic=abort") => found(key),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    #[test]
    fn aborting_is_found_in_profiles_and_flags() {
        let found = findings_in(
            check,
            &[
                ("Cargo.toml", "[profile.release]\npanic = \"abort\""),
                (".cargo/config.toml", "[build]\nrustflags = [\"-C\", \"panic=abort\"]"),
                ("host/Cargo.toml", "[profile.dev]\npanic = \"unwind\""),
                ("docs/example.toml", "panic = \"abort\""),
                ("tests/Cargo.toml", "[oops"),
            ],
        );
        let why = "aborts on a panic, which modules must survive";
        assert_eq!(found[0], format!(".cargo/config.toml: `build.rustflags` {why}"));
        assert_eq!(found[1], format!("Cargo.toml: `profile.release.panic` {why}"));
        assert!(found[2].starts_with("tests/Cargo.toml: no TOML: "), "{found:?}");
        assert_eq!(found.len(), 3);
    }
}
