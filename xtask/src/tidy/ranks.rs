//! A room of the host imports only rooms of lower rank. The table here is the one that counts; ARCHITECTURE.md
//! shows it as a picture.

use super::{Finding, code::Code, tree::Tree};

const HOME: &str = "host/src/";

/// From the bottom up. Rooms of one line don't know each other.
const RANKS: &[&[&str]] = &[
    &["names"],
    &["manifest", "stores", "config", "problem", "telemetry"],
    &["catalog", "loader", "flags", "identity", "settings", "audit"],
    &["tenancy"],
    &["refusals"],
    &["gateway", "layers", "ofrep", "admin", "dashboard", "outbound", "watch"],
    &["app"],
    &["cli"],
    &["main"],
];

/// The body of an error over HTTP: only rooms from this one's rank on answer over HTTP.
const PROBLEM: (&str, &str) = ("problem", "refusals");

/// The front page names all rooms.
const FRONT_PAGE: &str = "lib";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, code) in tree.sources() {
        let Some(inside) = file.path.strip_prefix(HOME) else { continue };
        let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if room == FRONT_PAGE {
            continue;
        }
        if rank(room).is_none() {
            findings.push(Finding::new(&file.path, 0, format!("room `{room}` has no rank: add it to the table")));
            continue;
        }
        for (at, used) in rooms_used(code, depth(inside)) {
            if let Some(text) = breach(room, used) {
                findings.push(Finding::new(&file.path, code.line_of(at), text));
            }
        }
    }
    findings
}

fn rank(room: &str) -> Option<usize> {
    RANKS.iter().position(|rooms| rooms.contains(&room))
}

fn breach(room: &str, used: &str) -> Option<String> {
    if room == used {
        return None;
    }
    let own = rank(room);
    match rank(used) {
        None if used == "*" || used.starts_with(char::is_uppercase) => {
            Some(format!("`{used}` from the crate's front page hides its room: import it from there"))
        }
        None => Some(format!("room `{used}` has no rank: add it to the table")),
        other if used == PROBLEM.0 && own < rank(PROBLEM.1) && other < own => {
            Some(format!("`{room}` knows no HTTP: `{used}` is for `{}` and above", PROBLEM.1))
        }
        other if other < own => None,
        other => Some(format!(
            "`{room}` has rank {} and must not import `{used}` of rank {}",
            own.unwrap_or_default(),
            other.unwrap_or_default()
        )),
    }
}

/// How many `super` lead from the file's module to the crate's root.
fn depth(inside: &str) -> usize {
    let front_page = inside.ends_with("/mod.rs");
    inside.split('/').count() - usize::from(front_page)
}

/// The rooms that a source names, with their places.
fn rooms_used(code: &Code, depth: usize) -> Vec<(usize, &str)> {
    let text = code.text();
    let mut used = Vec::new();
    for root in ["crate", "tenon_host"] {
        for at in code.places_of_word(root) {
            if let Some(rest) = after_colons(&text[at + root.len()..]) {
                used.extend(first_names(rest).into_iter().map(|name| (at, name)));
            }
        }
    }
    for at in code.places_of_word("super") {
        let continues_a_path = text[..at].trim_end().ends_with("::");
        let mut rest = &text[at..];
        let mut climbed = 0;
        while let Some(next) = rest.trim_start().strip_prefix("super").and_then(after_colons) {
            rest = next;
            climbed += 1;
        }
        // A `super` too many stands in a module inside the file, such as its tests. Names that are no room's are
        // the file's own.
        if !continues_a_path && climbed >= depth {
            used.extend(first_names(rest).into_iter().filter(|name| rank(name).is_some()).map(|name| (at, name)));
        }
    }
    used
}

fn after_colons(text: &str) -> Option<&str> {
    text.trim_start().strip_prefix("::")
}

/// The first name of a path, or of each path in a group.
fn first_names(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let Some(group) = text.strip_prefix('{') else { return first_name(text).into_iter().collect() };
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut begin = 0;
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b',' | b'}' if depth == 0 => {
                names.extend(first_name(&group[begin..at]));
                begin = at + 1;
                if byte == b'}' {
                    break;
                }
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    names
}

fn first_name(path: &str) -> Option<&str> {
    let path = path.trim_start();
    let end = path.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(path.len());
    match &path[..end] {
        "" if path.starts_with('*') => Some(&path[..1]),
        "" => None,
        name => Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::findings_in;

    fn check_one(path: &str, source: &str) -> Vec<String> {
        findings_in(check, &[(path, source)])
    }

    #[test]
    fn lower_rooms_may_be_imported() {
        let source = "use crate::{names::{A, B}, stores::C, loader};\nuse super::plan;\nfn f() { crate::flags::g(); }";
        assert!(check_one("host/src/tenancy/mod.rs", source).is_empty());
        assert!(check_one("host/src/main.rs", "fn main() { tenon_host::cli::run() }").is_empty());
        assert!(check_one("host/src/lib.rs", "pub use crate::app::Host;").is_empty());
        assert!(check_one("host/src/gateway/answer.rs", "use crate::problem::Problem;").is_empty());
    }

    #[test]
    fn higher_and_equal_rooms_may_not() {
        let source =
            "// crate::app\nuse crate::{\n    names::A,\n    tenancy::{B, admin},\n};\nfn f() { crate::flags::g() }";
        assert_eq!(
            check_one("host/src/catalog/scan.rs", source),
            [
                "host/src/catalog/scan.rs:2: `catalog` has rank 2 and must not import `tenancy` of rank 3",
                "host/src/catalog/scan.rs:6: `catalog` has rank 2 and must not import `flags` of rank 2",
            ]
        );
    }

    #[test]
    fn super_is_followed_to_the_root() {
        let equal = "`admin` has rank 5 and must not import `gateway` of rank 5";
        assert_eq!(
            check_one("host/src/admin/mod.rs", "use super::gateway::X;"),
            [format!("host/src/admin/mod.rs:1: {equal}")]
        );
        assert_eq!(
            check_one("host/src/admin/routes.rs", "use super::super::gateway;"),
            [format!("host/src/admin/routes.rs:1: {equal}")]
        );
        assert!(check_one("host/src/admin/routes.rs", "use super::gateway;").is_empty(), "a part of the room");
    }

    #[test]
    fn http_errors_are_for_the_edge() {
        assert_eq!(
            check_one("host/src/catalog/mod.rs", "use crate::problem::Code;"),
            ["host/src/catalog/mod.rs:1: `catalog` knows no HTTP: `problem` is for `refusals` and above"]
        );
    }

    #[test]
    fn what_is_not_in_the_table_is_refused() {
        assert_eq!(
            check_one("host/src/misc/mod.rs", ""),
            ["host/src/misc/mod.rs: room `misc` has no rank: add it to the table"]
        );
        assert_eq!(
            check_one("host/src/app/mod.rs", "use crate::misc;\nuse crate::*;\nuse crate::Host;"),
            [
                "host/src/app/mod.rs:1: room `misc` has no rank: add it to the table",
                "host/src/app/mod.rs:2: `*` from the crate's front page hides its room: import it from there",
                "host/src/app/mod.rs:3: `Host` from the crate's front page hides its room: import it from there",
            ]
        );
    }
}
