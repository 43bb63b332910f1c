//! The guide for authors is one module, told in pieces: this test puts them together and builds it as it stands.

use super::{tests::*, *};

const GUIDE: &str = include_str!("../../../docs/module-development.md");

/// The files that the blocks of the guide make up. The first line of a block says which file it belongs to; those of a
/// shell belong to none.
fn files_of(guide: &str) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let mut block = lines.by_ref().take_while(|line| *line != "```");
        match language {
            "sh" => block.for_each(drop),
            "rust" | "toml" => {
                let first = block.next().unwrap_or_default();
                let file = first.trim_start_matches(['/', '#', ' ']);
                assert!(file.ends_with(".rs") || file.ends_with(".toml"), "`{first}` names no file");
                let text: String = block.flat_map(|line| [line, "\n"]).collect();
                match files.iter_mut().find(|(known, _)| known == file) {
                    Some((_, whole)) => whole.extend(["\n", &text]),
                    None => files.push((file.to_owned(), text)),
                }
            }
            other => panic!("a block in `{other}` would not be checked"),
        }
    }
    files
}

#[test]
fn the_module_of_the_guide_passes_its_tests() {
    let workspace = Workspace::find().unwrap();
    let files = files_of(GUIDE);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Cargo.toml", "module.toml", "src/lib.rs"]);
    let files: Vec<(&str, String)> = files.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    in_a_workspace(&workspace, "bookings", &files, check_all);
}
