//! The room's tests, through what it offers to others: texts of manifests, and whole files.

use std::path::Path;

use proptest::prelude::*;
use semver::Version;

use super::{
    Manifest, ManifestError, ModuleFile, ModuleFileError,
    sample::{Sample, stamp_fields},
};

const TASKS: &str = r#"
name = "tasks"
display-name = "Tasks"
category = "productivity"
version = "1.2.0"
host-api = "^1"
provides-to = ["clinic"]
publishes = ["task.done"]
subscribes = ["hr-core:employee.deleted"]
outbound = ["api.example.com:443"]

[dependencies]
hr-core = "^1.0"
email-service = { version = ">=1", optional = true }

[pricing]
tier = "premium"
monthly-price = 29.90
yearly-price = "299.99"

[features]
quick-add = true
bulk-import = false
page-size = 20

[models.Task]
unique = ["number"]
index = ["status", "assignee"]

[settings]
type = "object"
[settings.properties.limit]
type = "integer"
maximum = 100

[routes]
base = "/api/v1/tasks"
[[routes.endpoints]]
path = "/items/{id}"
method = "GET"
auth = true
roles = ["Member", "Admin"]
[[routes.endpoints]]
path = "/items"
method = "POST"
feature = "quick-add"
[[routes.endpoints]]
path = "/files/{*rest}"
method = "GET"
auth = false
"#;

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text.as_bytes(), &stamp_fields(), &Version::new(1, 4, 0))
}

/// What is reported for a text, one line each; empty if it is accepted.
fn problems(text: &str) -> String {
    parse(text).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A manifest of a name and whatever follows, and its problems.
fn check(rest: &str, expected: &str) {
    assert_eq!(problems(&format!("name = \"a\"\n{rest}")), expected, "{rest}");
}

#[test]
fn every_key_is_read_and_given_back_as_json() {
    insta::assert_json_snapshot!(parse(TASKS).unwrap().to_json(), @r#"
    {
      "authors": [
        "Ann",
        "Bob"
      ],
      "category": "productivity",
      "dependencies": {
        "email-service": {
          "optional": true,
          "version": ">=1"
        },
        "hr-core": {
          "optional": false,
          "version": "^1.0"
        }
      },
      "description": "A sample",
      "display-name": "Tasks",
      "features": {
        "bulk-import": false,
        "page-size": 20,
        "quick-add": true
      },
      "host-api": "^1",
      "license": "MIT",
      "models": {
        "Task": {
          "index": [
            "assignee",
            "status"
          ],
          "unique": [
            "number"
          ]
        }
      },
      "name": "tasks",
      "outbound": [
        "api.example.com:443"
      ],
      "pricing": {
        "monthly-price": "29.90",
        "tier": "premium",
        "yearly-price": "299.99"
      },
      "provides-to": [
        "clinic"
      ],
      "publishes": [
        "task.done"
      ],
      "routes": {
        "base": "/api/v1/tasks",
        "endpoints": [
          {
            "auth": true,
            "method": "GET",
            "path": "/items/{id}",
            "roles": [
              "Admin",
              "Member"
            ]
          },
          {
            "auth": true,
            "feature": "quick-add",
            "method": "POST",
            "path": "/items",
            "roles": []
          },
          {
            "auth": false,
            "method": "GET",
            "path": "/files/{*rest}",
            "roles": []
          }
        ]
      },
      "settings": {
        "properties": {
          "limit": {
            "maximum": 100,
            "type": "integer"
          }
        },
        "type": "object"
      },
      "subscribes": [
        "hr-core:employee.deleted"
      ],
      "version": "1.2.0"
    }
    "#);
}

#[test]
fn what_is_left_out_comes_from_the_stamp_or_is_empty() {
    let manifest = parse("name = \"small\"").unwrap();
    insta::assert_json_snapshot!(manifest.to_json(), @r#"
    {
      "authors": [
        "Ann",
        "Bob"
      ],
      "dependencies": {},
      "description": "A sample",
      "display-name": "small",
      "features": {},
      "host-api": "^1.0.0",
      "license": "MIT",
      "models": {},
      "name": "small",
      "outbound": [],
      "publishes": [],
      "subscribes": [],
      "version": "1.2.3"
    }
    "#);
    assert!(manifest.routes.is_none());
    let plain = parse("name = \"small\"\nmodels = [\"Task\", \"Note\"]").unwrap();
    assert_eq!(plain.models.iter().map(|model| &*model.name).collect::<Vec<_>>(), ["Note", "Task"]);
}

#[test]
fn all_problems_come_at_once_in_the_order_of_the_text() {
    let text = r#"
name = "Tasks"
displayname = "Tasks"
version = "1.2"
provides-to = ["clinic", "clinic", 3]
subscribes = ["payroll:paid", "hr-core:Bad"]
outbound = ["https://api.example.com", "api.example.com:0"]

[dependencies]
hr-core = "one"
email = { range = "1" }
Bad = "1"

[pricing]
monthly-price = 1e3
yearly-price = -1.5
license = "MIT"

[features]
QuickAdd = true
limit = inf

[models.Task]
unique = ["a.b"]
indexes = []

[routes]
base = "/api/{v}/tasks/"
[[routes.endpoints]]
path = "/items/{id}"
method = "get"
[[routes.endpoints]]
path = "/items/{id}"
method = "PUT"
auth = "yes"
feature = "quick-ad"
[[routes.endpoints]]
path = "/items/{other}"
method = "PUT"
auth = false
roles = []
[[routes.endpoints]]
path = "items/a{b}"
"#;
    insta::assert_snapshot!(problems(text), @r#"
    line 2, column 8: `name` is `Tasks`: a module name is 1 to 63 characters: a lower-case letter, then lower-case letters, digits and `-`
    line 3, column 1: `displayname` is not known; the nearest known key is `display-name`
    line 4, column 11: `version` is `1.2`: unexpected end of input while parsing minor version number
    line 5, column 26: `provides-to[1]` is listed twice
    line 5, column 36: `provides-to[2]` must be a string, not an integer
    line 6, column 15: `subscribes[0]` names module `payroll`, which is not in [dependencies]
    line 6, column 31: `subscribes[1]` is `hr-core:Bad`: must be `MODULE:EVENT`, such as `hr-core:employee.deleted`
    line 7, column 13: `outbound[0]` is `https://api.example.com`: must be `HOST:PORT`, such as `api.example.com:443`, the host in lower case
    line 7, column 40: `outbound[1]` is `api.example.com:0`: must be `HOST:PORT`, such as `api.example.com:443`, the host in lower case
    line 10, column 11: `dependencies.hr-core` is `one`: unexpected character 'o' while parsing major version number
    line 11, column 9: `dependencies.email.version` is missing
    line 11, column 11: `dependencies.email.range` is not known; the nearest known key is `version`
    line 12, column 1: `dependencies.Bad` is no module: a module name is 1 to 63 characters: a lower-case letter, then lower-case letters, digits and `-`
    line 14, column 1: `pricing.tier` is missing
    line 15, column 17: `pricing.monthly-price` is `1e3`: must be a plain decimal such as `29.99`: digits, at most one point, no sign or exponent
    line 16, column 16: `pricing.yearly-price` is `-1.5`: must be a plain decimal such as `29.99`: digits, at most one point, no sign or exponent
    line 17, column 1: `pricing.license` is not known here: `license` is a top-level key and stands above the first [table]
    line 20, column 1: `features.QuickAdd` must be named in kebab-case, such as `bulk-import`, with at most 63 characters
    line 21, column 9: `features.limit` is a number that JSON does not have
    line 24, column 11: `models.Task.unique[0]` is `a.b`: a field is top-level and has at most 63 letters, digits, `_` and `-`, a letter or `_` first
    line 25, column 1: `models.Task.indexes` is not known; the nearest known key is `index`
    line 28, column 8: `routes.base` is `/api/{v}/tasks/`: must name at least one segment and not end with `/`
    line 31, column 10: `routes.endpoints[0].method` is `get`, must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
    line 35, column 8: `routes.endpoints[1].auth` must be `true` or `false`, not a string
    line 36, column 11: `routes.endpoints[1].feature` is `quick-ad`, which [features] does not declare; the nearest declared one is `QuickAdd`
    line 37, column 1: `routes.endpoints[2]` has the method and path of `routes.endpoints[1]`: PUT /items/{other}
    line 41, column 9: `routes.endpoints[2].roles` can't be asked for where `auth = false`
    line 41, column 9: `routes.endpoints[2].roles` names no role: leave it out to admit every known caller
    line 42, column 1: `routes.endpoints[3].method` is missing
    line 43, column 8: `routes.endpoints[3].path` is `items/a{b}`: must begin with `/`
    "#);
}

#[test]
fn text_that_is_no_toml_is_refused_with_all_places() {
    insta::assert_snapshot!(problems("name = \"a\"\nname = \"b\"\nx = = 3\n[open\n"), @r#"
    line 2, column 1: duplicate key
    line 3, column 5: extra `=`, expected nothing
    line 3, column 7: unexpected key or value, expected newline, `#`
    line 4, column 6: unclosed table, expected `]`
    "#);
    let not_text = Manifest::parse(b"name = \"a\"\n# \xff", &stamp_fields(), &Version::new(1, 0, 0));
    assert_eq!(not_text.unwrap_err().to_string(), "line 2, column 3: the text is not UTF-8 from here on");
}

#[test]
fn host_api_is_judged_before_all_other_keys() {
    let later = "name = 5\nhost-api = \"^1.9\"\nteleport = true\n[colours]\nred = 1";
    let expected = ManifestError::HostApi { range: "^1.9".parse().unwrap(), host: Version::new(1, 4, 0) };
    assert_eq!(parse(later).unwrap_err(), expected);
    assert_eq!(problems(later), "needs a host with module-api `^1.9`, this host has 1.4.0");
    assert!(
        matches!(parse(&later.replace("1.9", "1.4")), Err(ManifestError::Invalid(problems)) if problems.len() == 3)
    );
    let mut stamp = stamp_fields();
    stamp.api_version = "1.5.0".to_owned();
    let left_out = Manifest::parse(b"name = \"a\"", &stamp, &Version::new(1, 4, 0));
    assert!(matches!(left_out, Err(ManifestError::HostApi { .. })));
    check(
        "host-api = \"soon\"",
        "line 2, column 12: `host-api` is `soon`: unexpected character 's' while parsing major version number",
    );
}

#[test]
fn prices_are_the_digits_that_were_written() {
    for (written, kept) in [
        ("29.99", "29.99"),
        ("29.90", "29.90"),
        ("1_000.00", "1000.00"),
        ("0", "0"),
        ("12345678901234567890.000000000001", "12345678901234567890.000000000001"),
        ("\"0.1\"", "0.1"),
    ] {
        let manifest = parse(&format!("name = \"a\"\n[pricing]\ntier = \"x\"\nmonthly-price = {written}")).unwrap();
        assert_eq!(manifest.pricing.unwrap().monthly.unwrap().as_str(), kept);
    }
    for bad in ["-1", "1e3", "inf", "0x10", "\"1,5\"", "\"\"", "\".5\"", "true", "\"01\""] {
        assert!(parse(&format!("name = \"a\"\n[pricing]\ntier = \"x\"\nmonthly-price = {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn bases_and_paths_have_one_spelling() {
    for bad in [
        "",
        "/",
        "api",
        "/a/",
        "/a//b",
        "/a/{b}",
        "/a/../b",
        "/a b",
        "/ofrep",
        "/ofrep/v1",
        "/.well-known/x",
        "/a%2f",
        "/ä",
    ] {
        assert!(bad.parse::<super::BasePath>().is_err(), "{bad}");
    }
    for good in ["/a", "/api/v1/hr-core", "/ofrep2", "/a/ofrep", "/a/.well-known"] {
        assert!(good.parse::<super::BasePath>().is_ok(), "{good}");
    }
    let base = |text: &str| text.parse::<super::BasePath>().unwrap();
    assert!(
        base("/a/b").overlaps(&base("/a/b"))
            && base("/a").overlaps(&base("/a/b"))
            && base("/a/b").overlaps(&base("/a"))
    );
    assert!(!base("/a/b").overlaps(&base("/a/bc")) && !base("/a").overlaps(&base("/b")));

    for bad in ["", "x", "/x/", "/{a}/{a}", "/{*a}/b", "/{}", "/{A}", "/x{a}", "/{a", "//", "/.", "/a?b", "/{*}"] {
        assert!(bad.parse::<super::RoutePath>().is_err(), "{bad}");
    }
    let path = |text: &str| text.parse::<super::RoutePath>().unwrap();
    assert_eq!(path("/items/{id}/x").shape(), path("/items/{number}/x").shape());
    assert_ne!(path("/items/{id}").shape(), path("/items/{*id}").shape());
    assert!(path("/").segments().is_empty());
}

#[test]
fn a_key_of_the_top_level_below_a_table_gets_a_hint() {
    check(
        "[features]\n[pricing]\ntier = \"x\"\nversion = \"1.0.0\"",
        "line 5, column 1: `pricing.version` is not known here: `version` is a top-level key and stands above the first [table]",
    );
}

#[test]
fn hostile_texts_are_refused_quickly_and_briefly() {
    let mut many = String::from("name = \"a\"\n");
    for i in 0..20_000 {
        many.push_str(&format!("k{i} = 1\n"));
    }
    let Err(ManifestError::Invalid(problems)) = parse(&many) else { panic!("accepted") };
    assert_eq!(problems.len(), 101);
    assert_eq!(problems[100].message, "and 19900 more problems");
    for deep in ["a.".repeat(100_000) + "b = 1", format!("a = {}", "[".repeat(200_000)), "{a=".repeat(50_000)] {
        assert!(parse(&deep).is_err());
    }
    let long_key = format!("{} = 1", "k".repeat(500_000));
    let text = parse(&long_key).unwrap_err().to_string();
    assert!(text.len() < 500, "{} bytes", text.len());
}

/// A folder of its own with one file in it.
fn read(bytes: &[u8]) -> Result<ModuleFile, ModuleFileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("module.so");
    std::fs::write(&path, bytes).unwrap();
    ModuleFile::read(&path)
}

/// Code and problems of a file that is refused.
fn refused(bytes: &[u8]) -> (&'static str, String) {
    let error = read(bytes).expect_err("must be refused");
    (error.code(), error.problems().join("\n"))
}

#[test]
fn a_module_file_is_read_without_being_run() {
    let file = read(&Sample::new(TASKS).bytes()).unwrap();
    assert_eq!(file.manifest.name.as_str(), "tasks");
    assert_eq!(file.stamp.version, "1.2.3");
    assert_eq!(file.unload.note(), None);
    let other_rustc = Sample::new(TASKS).stamped(|stamp| stamp.rustc = "rustc 1.99.0".to_owned());
    assert!(read(&other_rustc.bytes()).is_ok());
}

#[test]
fn what_keeps_a_library_mapped_is_found() {
    let mut sample = Sample::new("name = \"a\"");
    sample.unique_symbols = vec!["_ZN3foo", "_ZN3bar"];
    sample.flags_1 = 0x8;
    let note = read(&sample.bytes()).unwrap().unload.note().unwrap();
    assert_eq!(
        note,
        "cannot be unloaded once opened: it defines 2 GNU_UNIQUE symbols, the first is `_ZN3foo`; \
         it is linked with `-z nodelete`"
    );
}

#[test]
fn files_that_are_no_modules_are_refused_each_with_its_text() {
    let invalid = |bytes: &[u8], expected: &str| {
        assert_eq!(refused(bytes), ("MANIFEST_INVALID", expected.to_owned()));
    };
    invalid(b"", "is not an ELF file");
    invalid(b"#!/bin/sh\n", "is not an ELF file");
    invalid(b"\x7fELF", "is cut short: the file header ends at byte 64, the file at byte 4");
    let no_section =
        |name| format!("has no section `{name}`\nhint: a module ends with `module_api::export_module!(...)`");
    let without = |change: fn(&mut Sample)| {
        let mut sample = Sample::new("name = \"a\"");
        change(&mut sample);
        sample.bytes()
    };
    invalid(&without(|sample| sample.manifest = None), &no_section(".tenon_manifest"));
    invalid(&without(|sample| sample.stamp = None), &no_section(".tenon_stamp"));
    invalid(&without(|sample| sample.kind = 2), "is an ELF file but not a shared library");
    invalid(
        &without(|sample| sample.manifest = Some(vec![b'#'; 2 << 20])),
        "`.tenon_manifest` has 2097152 bytes, at most 1048576 are read",
    );
    let mut full = b"name = \"a\"\n".to_vec();
    full.resize(1 << 20, b'#');
    assert!(read(&without(|_| {})).is_ok());
    let mut largest = Sample::new("");
    largest.manifest = Some(full);
    assert!(read(&largest.bytes()).is_ok());
    invalid(
        &without(|sample| sample.stamp.as_mut().unwrap()[0] = b'X'),
        "has a bad stamp: the stamp does not begin with Tenon's magic bytes",
    );
    let two = without(|sample| sample.manifest = Some(b"name = 5\nnames = 6".to_vec()));
    invalid(
        &two,
        "module.toml, line 1, column 8: `name` must be a string, not an integer\n\
         module.toml, line 2, column 1: `names` is not known; the nearest known key is `name`",
    );

    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(ModuleFile::read(folder.path()), Err(ModuleFileError::NotAFile)));
    let missing = ModuleFile::read(Path::new("/nonexistent/module.so")).unwrap_err();
    assert!(missing.retryable() && missing.code() == "MANIFEST_INVALID");
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    let whole = Sample::new(TASKS).bytes();
    for kept in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
        let (code, text) = refused(&whole[..kept]);
        assert_eq!(code, "MANIFEST_INVALID", "{kept}");
        assert!(text.starts_with("is cut short") || kept < 4, "{kept}: {text}");
    }
}

#[test]
fn modules_for_other_hosts_are_refused_with_every_reason() {
    let incompatible = |sample: Sample, expected: &str| {
        assert_eq!(refused(&sample.bytes()), ("MODULE_INCOMPATIBLE", expected.to_owned()));
    };
    let target = module_api::stamp::API_TEXTS[2];
    let api = module_api::VERSION;
    let mut other = Sample::new("name = \"a\"");
    other.machine = 243;
    incompatible(other, &format!("is built for riscv64, this host runs on {}", std::env::consts::ARCH));
    let several = Sample::new("name = \"a\"\nhost-api = \"^2\"\nunheard-of = 1").stamped(|stamp| {
        stamp.target = "sparc-sun-solaris".to_owned();
        stamp.panic = "abort".to_owned();
        stamp.api_version = "2.0.0".to_owned();
    });
    incompatible(
        several,
        &format!(
            "is built for target `sparc-sun-solaris`, this host for `{target}`\n\
             is built with panic strategy `abort`, only `unwind` is safe to run\n\
             is built with module-api 2.0.0, this host has {api}: the major versions differ\n\
             needs a host with module-api `^2`, this host has {api}"
        ),
    );
    let mut layout = Sample::new("name = \"a\"");
    layout.stamp.as_mut().unwrap()[7] = 2;
    incompatible(layout, "has a stamp of layout 2, this host reads 1");
    let mut bits = Sample::new("name = \"a\"").bytes();
    bits[4] = 1;
    let text = format!("is built for a 32-bit little-endian machine, this host runs on {}", std::env::consts::ARCH);
    assert_eq!(refused(&bits), ("MODULE_INCOMPATIBLE", text));
}

/// A change of a file's bytes.
#[derive(Debug, Clone)]
enum Mutation {
    Byte(usize, u8),
    Word(usize, u64),
    Cut(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    // The first and the last bytes are the headers, where a change does most.
    let place = prop_oneof![0_usize..240, 0_usize..100_000];
    let word = prop_oneof![Just(u64::MAX), Just(1_u64 << 63), Just(0), 0_u64..4096, any::<u64>()];
    prop_oneof![
        4 => (place.clone(), any::<u8>()).prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        4 => (place.clone(), word).prop_map(|(at, word)| Mutation::Word(at, word)),
        1 => place.prop_map(Mutation::Cut),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a file, reading it ends, without a panic; and what is accepted is whole.
    #[test]
    fn damaged_files_do_no_harm(mutations in prop::collection::vec(mutation(), 1..8), from_end in any::<bool>()) {
        let mut bytes = Sample::new(TASKS).bytes();
        for mutation in mutations {
            let place = |at: usize, len: usize| if from_end { len.saturating_sub(1 + at % len.max(1)) } else { at % len.max(1) };
            let len = bytes.len();
            match mutation {
                Mutation::Byte(at, byte) if len > 0 => bytes[place(at, len)] = byte,
                Mutation::Word(at, word) if len >= 8 => {
                    let at = place(at, len - 7);
                    bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
                }
                Mutation::Cut(at) => bytes.truncate(place(at, len)),
                _ => {}
            }
        }
        if let Err(error) = read(&bytes) {
            prop_assert!(["MANIFEST_INVALID", "MODULE_INCOMPATIBLE"].contains(&error.code()));
            prop_assert!(!error.problems().is_empty());
        }
    }

    /// The same for manifests: parsing any text ends with a manifest or with problems.
    #[test]
    fn damaged_manifests_do_no_harm(cut in 0_usize..TASKS.len(), splice in "[\\[\\]{}=\"'.,#a-z0-9\n ]{0,12}", at in 0_usize..TASKS.len()) {
        let mut text = TASKS.to_owned();
        text.insert_str(at, &splice);
        text.truncate(cut + splice.len());
        match parse(&text) {
            Err(ManifestError::Invalid(problems)) => prop_assert!(!problems.is_empty()),
            Ok(_) | Err(ManifestError::HostApi { .. }) => {}
        }
    }
}
