//! A real module's file, damaged where it hurts, read as the plugins folder is.

use std::{cell::RefCell, fs, ops::Range, os::unix::fs::FileExt};

use module_api::stamp::{API_TEXTS, MANIFEST_SECTION, STAMP_SECTION, read_stamp};
use object::{
    LittleEndian,
    elf::{ET_DYN, FileHeader64, SHN_UNDEF, SHT_DYNSYM, SectionHeader64, Sym64},
    read::elf::{FileHeader, SectionHeader, Sym},
};
use proptest::prelude::*;
use semver::Version;
use tempfile::TempDir;
use tenon_host::{
    catalog::{Build, Candidate, scan},
    manifest::Manifest,
};

use super::{
    edits::{self, Edit},
    mutate,
};
use crate::harness::artifacts;

const ENDIAN: LittleEndian = LittleEndian;
type Header = FileHeader64<LittleEndian>;
type Entry = SectionHeader64<LittleEndian>;
type Symbol = Sym64<LittleEndian>;

/// Regions with how often they are hit: headers first of all.
const WEIGHTS: [u32; 11] = [6, 4, 8, 6, 3, 3, 6, 6, 3, 3, 2];

/// A file as an installer would ship it: what only debuggers read stands at the end, and is left out.
fn stripped(whole: &[u8]) -> Vec<u8> {
    let header = Header::parse(whole).expect("an ELF file");
    let sections = header.sections(ENDIAN, whole).expect("sections");
    let name_of = |entry: &Entry| sections.section_name(ENDIAN, entry).expect("a name");
    let is_unwanted = |entry: &Entry| {
        let name = name_of(entry);
        name.starts_with(b".debug_") || [&b".symtab"[..], b".strtab", b".comment"].contains(&name)
    };
    let unwanted = sections.iter().filter(|entry| is_unwanted(entry));
    let end = unwanted.map(|entry| entry.sh_offset(ENDIAN)).min().expect("a library with debug information");
    let mut file = whole[..usize::try_from(end).expect("a place")].to_vec();
    let names = sections.iter().find(|entry| name_of(entry) == b".shstrtab").expect("names");
    let names_at = file.len() as u64;
    file.extend_from_slice(names.data(ENDIAN, whole).expect("names"));
    file.resize(file.len().next_multiple_of(8), 0);
    let table_at = file.len() as u64;
    for (place, entry) in sections.iter().enumerate() {
        let start = usize::try_from(header.e_shoff.get(ENDIAN)).expect("a place") + place * size_of::<Entry>();
        let mut bytes = whole[start..start + size_of::<Entry>()].to_vec();
        if is_unwanted(entry) {
            bytes.fill(0);
        } else if name_of(entry) == b".shstrtab" {
            bytes[24..32].copy_from_slice(&names_at.to_le_bytes());
        }
        file.extend(bytes);
    }
    // e_shoff.
    file[40..48].copy_from_slice(&table_at.to_le_bytes());
    file
}

/// Headers, tables and sections that the host reads, and the rest.
fn regions(file: &[u8]) -> [Range<usize>; WEIGHTS.len()] {
    let header = Header::parse(file).expect("an ELF file");
    let sections = header.sections(ENDIAN, file).expect("sections");
    let place = |number: u64| usize::try_from(number).expect("a place");
    let of = |name: &str| {
        let (_, entry) = sections.section_by_name(ENDIAN, name.as_bytes()).unwrap_or_else(|| panic!("no {name}"));
        let (start, size) = entry.file_range(ENDIAN).expect("bytes");
        place(start)..place(start + size)
    };
    let (programs, table) = (place(header.e_phoff.get(ENDIAN)), place(header.e_shoff.get(ENDIAN)));
    let program_bytes = usize::from(header.e_phnum.get(ENDIAN)) * 56;
    [
        0..64,
        programs..programs + program_bytes,
        table..file.len(),
        of(".dynsym"),
        of(".dynstr"),
        of(".dynamic"),
        of(MANIFEST_SECTION),
        of(STAMP_SECTION),
        of(".shstrtab"),
        // The beginning of the stamp: its magic and its layout.
        of(STAMP_SECTION).start..of(STAMP_SECTION).start + 16,
        0..file.len(),
    ]
}

/// Whether an accepted file is what it is accepted as, by another reader and by its manifest and stamp alone.
fn is_right(file: &[u8], machine: u16, accepted: &Candidate) -> Result<(), String> {
    let told = |error: object::read::Error| error.to_string();
    let header = Header::parse(file).map_err(told)?;
    let entries = header.section_headers(ENDIAN, file).map_err(told)?;
    let bytes_of = |entry: &Entry| {
        let (start, size) = entry.file_range(ENDIAN).unwrap_or_default();
        let range = usize::try_from(start).ok().zip(start.checked_add(size).and_then(|end| usize::try_from(end).ok()));
        range.and_then(|(start, end)| file.get(start..end)).ok_or("a section is not in the file".to_owned())
    };
    let text_at = |texts: &[u8], at: u32| -> Vec<u8> {
        let rest = texts.get(at as usize..).unwrap_or_default();
        rest.iter().copied().take_while(|byte| *byte != 0).collect()
    };
    let names_at = header.shstrndx(ENDIAN, file).map_err(told)? as usize;
    let names = bytes_of(entries.get(names_at).ok_or("there are no names of sections")?)?;
    let content = |name: &str| -> Result<&[u8], String> {
        let mut named = entries.iter().filter(|entry| text_at(names, entry.sh_name(ENDIAN)) == name.as_bytes());
        let entry = named.next().ok_or(format!("there is no {name}"))?;
        if named.next().is_some() {
            return Err(format!("there is another {name}"));
        }
        bytes_of(entry)
    };
    let stamp = read_stamp(content(STAMP_SECTION)?)?;
    let host: Version = module_api::VERSION.parse().expect("a version");
    let manifest =
        Manifest::parse(content(MANIFEST_SECTION)?, &stamp, &host).map_err(|error| format!("its manifest: {error}"))?;
    let api: Version = stamp.api_version.parse().map_err(|error| format!("its version of module-api: {error}"))?;
    let mut exports = false;
    for table in entries.iter().filter(|entry| entry.sh_type(ENDIAN) == SHT_DYNSYM) {
        let texts = bytes_of(entries.get(table.sh_link(ENDIAN) as usize).ok_or("there are no names of symbols")?)?;
        let symbols =
            object::slice_from_all_bytes::<Symbol>(bytes_of(table)?).map_err(|()| "half a symbol".to_owned())?;
        exports |= symbols.iter().any(|symbol| {
            let is_defined = symbol.st_shndx(ENDIAN) != SHN_UNDEF;
            is_defined && text_at(texts, symbol.st_name(ENDIAN)) == module_api::abi::ENTRY_SYMBOL.as_bytes()
        });
    }
    for (holds, what) in [
        (header.e_type(ENDIAN) == ET_DYN, "it is a library"),
        (header.e_machine(ENDIAN).0 == machine, "its machine is the host's"),
        (stamp.panic == "unwind", "its panics unwind"),
        (stamp.target == API_TEXTS[2], "its target is the host's"),
        (api.major == host.major && manifest.host_api.matches(&host), "it fits the host"),
        (exports, "it exports a module"),
        (*accepted.manifest == manifest && accepted.build == Build::of(&stamp), "it is listed as what it is"),
        ((&accepted.name, &accepted.version) == (&manifest.name, &manifest.version), "it is listed under its name"),
    ] {
        if !holds {
            return Err(format!("not true: {what}"));
        }
    }
    Ok(())
}

/// A file in a folder of its own, and an image of it. Both are damaged and mended again: to copy a megabyte for each case
/// would take too long.
struct Specimen {
    whole: Vec<u8>,
    image: Vec<u8>,
    file: fs::File,
    folder: TempDir,
    /// Where the image is not what it was.
    dirty: Range<usize>,
}

impl Specimen {
    fn new(whole: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module.so");
        fs::write(&path, &whole).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        Self { image: whole.clone(), whole, file, folder, dirty: 0..0 }
    }

    /// As it was at first.
    fn mend(&mut self) {
        let Range { start, end } = std::mem::replace(&mut self.dirty, 0..0);
        if end > self.whole.len() {
            self.image.truncate(start);
            self.image.extend_from_slice(&self.whole[self.image.len()..]);
            self.write(self.image.len().min(start)..self.image.len());
        } else {
            self.image[start..end].copy_from_slice(&self.whole[start..end]);
            self.write(start..end);
        }
    }

    fn damage(&mut self, edits: &[Edit], regions: &[Range<usize>]) {
        self.mend();
        let touched = edits.iter().map(|edit| edit.apply(&mut self.image, regions));
        let touched = touched.reduce(|one, other| one.start.min(other.start)..one.end.max(other.end));
        self.dirty = touched.unwrap_or(0..0);
        let len = self.image.len();
        self.write(self.dirty.start.min(len)..self.dirty.end.min(len));
    }

    fn write(&self, range: Range<usize>) {
        self.file.write_all_at(&self.image[range.clone()], range.start as u64).unwrap();
        self.file.set_len(self.image.len() as u64).unwrap();
    }
}

#[test]
fn damaged_module_files_are_refused_with_a_reason_or_are_right_by_themselves() {
    let whole = stripped(&fs::read(artifacts().library("answers")).unwrap());
    let regions = regions(&whole);
    let machine = Header::parse(&*whole).unwrap().e_machine(ENDIAN).0;
    let specimen = RefCell::new(Specimen::new(whole));
    assert_eq!(scan(specimen.borrow().folder.path(), &|_| false).unwrap().all().count(), 1, "it is a module as it is");
    let counts = mutate(&edits::binary(&WEIGHTS), |edits, count| {
        let mut specimen = specimen.borrow_mut();
        specimen.damage(&edits, &regions);
        let catalog = scan(specimen.folder.path(), &|_| false).unwrap();
        let accepted: Vec<_> = catalog.all().collect();
        let judged = match (&accepted[..], catalog.rejected()) {
            ([accepted], []) => is_right(&specimen.image, machine, accepted).map(|()| "accepted"),
            ([], [rejected]) if rejected.problems.is_empty() || rejected.problems.contains(&String::new()) => {
                Err("it is refused without a reason".to_owned())
            }
            ([], [rejected]) => match rejected.code {
                "MANIFEST_INVALID" => Ok("invalid"),
                "MODULE_INCOMPATIBLE" => Ok("incompatible"),
                other => Err(format!("it is refused as {other}")),
            },
            other => Err(format!("it is listed as {other:?}")),
        };
        count(judged.map_err(TestCaseError::fail)?);
        Ok(())
    });
    counts.expect(&["accepted", "invalid", "incompatible"]);
    let mut specimen = specimen.into_inner();
    specimen.mend();
    let path = specimen.folder.path().join("module.so");
    assert!(specimen.image == specimen.whole && fs::read(path).unwrap() == specimen.whole, "it was mended each time");
}
