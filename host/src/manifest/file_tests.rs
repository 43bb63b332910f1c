//! Tests of whole files: what is read, what is refused, and what damage does.

use std::path::Path;

use proptest::prelude::*;

use super::{
    ManifestError, ModuleFile, ModuleFileError,
    sample::Sample,
    tests::{TASKS, parse},
};

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
    invalid(&without(|sample| sample.is_linkable = false), "is damaged: its dynamic segment can't be right");
    invalid(
        &without(|sample| sample.exports_entry = false),
        "exports no module\nhint: a module ends with `module_api::export_module!(...)`",
    );
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
