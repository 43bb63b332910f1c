//! The flags of the benchmarks: a file of definitions as operators write it, and a user they are evaluated for.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

use crate::failure::{Doing, Result};

/// The file's name in a prepared folder.
pub(crate) const FILE: &str = "flags.json";

/// How many there are of each kind: without a rule, with one that looks at the user, by percentage.
pub(crate) const KINDS: [(&str, usize); 3] = [("static", 300), ("targeted", 40), ("rollout", 10)];

/// All of them.
pub(crate) const FLAGS: usize = KINDS[0].1 + KINDS[1].1 + KINDS[2].1;

/// A flag of a kind.
pub(crate) fn name(kind: &str, index: usize) -> String {
    format!("{kind}-{index:03}")
}

/// Writes the file.
pub(crate) fn write(folder: &Path) -> Result<()> {
    let mut flags = Map::new();
    for (kind, count) in KINDS {
        for index in 0..count {
            let mut flag = json!({
                "state": "ENABLED",
                "variants": { "on": true, "off": false },
                "defaultVariant": if index % 2 == 0 { "on" } else { "off" },
            });
            match kind {
                "targeted" => {
                    flag["targeting"] = json!({ "if": [
                        { "in": [{ "var": "plan" }, ["gold", "silver"]] }, "on",
                        { "ends_with": [{ "var": "email" }, "@example.com"] }, "on",
                        null,
                    ] });
                }
                "rollout" => flag["targeting"] = json!({ "fractional": [["on", 10], ["off", 90]] }),
                _ => {}
            }
            flags.insert(name(kind, index), flag);
        }
    }
    let path = folder.join(FILE);
    let written = fs::write(&path, json!({ "flags": flags }).to_string());
    written.doing(format_args!("write `{}`", path.display()))
}

/// What a client says of one of its users.
pub(crate) fn user(index: usize) -> Map<String, Value> {
    let user = [
        ("targetingKey", format!("user-{index}")),
        ("plan", ["free", "silver"][index % 2].to_owned()),
        ("email", format!("user-{index}@example.org")),
        ("country", "DE".to_owned()),
    ];
    user.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

#[cfg(test)]
mod tests {
    use tenon_host::flags::Definitions;

    use super::*;

    #[test]
    fn the_file_is_one_that_a_host_takes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        let file = fs::read(folder.path().join(FILE)).unwrap();
        assert_eq!(Definitions::parse(&file).unwrap().len(), FLAGS);
    }
}
