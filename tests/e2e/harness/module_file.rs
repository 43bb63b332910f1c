//! Module files that no compiler made: a fixture with another manifest, another stamp, another machine. What is
//! loaded into memory stays as it was; only what the host reads before it opens a file is exchanged.

use std::{fs, ops::Range};

use module_api::stamp::{MANIFEST_SECTION, STAMP_SECTION, TEXT_BYTES, read_stamp, stamp};
use object::{
    LittleEndian,
    elf::{FileHeader64, SectionHeader64},
    read::elf::{FileHeader, SectionHeader},
};

use super::artifacts;

/// The mark of fixture `answers`; another one of the same length can take its place.
const MARK: &str = "the mark of release one";

type Header = FileHeader64<LittleEndian>;

/// A module that is made out of a fixture, `answers` unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct NewModule {
    fixture: &'static str,
    manifest: String,
    texts: Vec<(usize, String)>,
    machine: Option<u16>,
    layout: Option<u8>,
    mark: Option<String>,
}

impl NewModule {
    /// A module with this manifest. It can be opened where its routes are those of the fixture.
    pub(crate) fn with_manifest(manifest: impl Into<String>) -> Self {
        Self::of("answers", manifest)
    }

    /// A module made out of this fixture, with this manifest.
    pub(crate) fn of(fixture: &'static str, manifest: impl Into<String>) -> Self {
        Self { fixture, manifest: manifest.into(), texts: Vec::new(), machine: None, layout: None, mark: None }
    }

    /// A module without routes; `more` follows name and version in the manifest.
    pub(crate) fn named(name: &str, version: &str, more: &str) -> Self {
        Self::with_manifest(format!(
            "name = \"{name}\"\ndisplay-name = \"{name}\"\nversion = \"{version}\"\nhost-api = \"^1\"\n{more}\n"
        ))
    }

    /// Fixture `answers` itself, in another version.
    pub(crate) fn answers(version: &str) -> Self {
        let manifest = include_str!("../../fixtures/answers/module.toml");
        Self::with_manifest(manifest.replace("version = \"1.0.0\"", &format!("version = \"{version}\"")))
    }

    /// Fixture `moody` in another version and mood; dots fill the mood up.
    pub(crate) fn moody(version: &str, mood: &str) -> Self {
        let manifest = include_str!("../../fixtures/moody/module.toml");
        let manifest = manifest.replace("version = \"1.0.0\"", &format!("version = \"{version}\""));
        Self::of("moody", manifest).mark(&format!("{mood:.<width$}", width = MARK.len()))
    }

    /// Fixture `answers` under another name and base.
    pub(crate) fn answers_as(name: &str, base: &str) -> Self {
        let manifest = include_str!("../../fixtures/answers/module.toml");
        let named = manifest.replace("name = \"answers\"", &format!("name = \"{name}\""));
        Self::with_manifest(named.replace("/fixtures/answers", base))
    }

    /// With more at the end of the manifest.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.manifest.push_str(more);
        self
    }

    /// As if built with another module-api.
    pub(crate) fn api(mut self, version: &str) -> Self {
        self.texts.push((0, version.to_owned()));
        self
    }

    /// As if built with another panic strategy.
    pub(crate) fn panic_strategy(mut self, strategy: &str) -> Self {
        self.texts.push((3, strategy.to_owned()));
        self
    }

    /// As if its stamp had another layout.
    pub(crate) fn stamp_layout(mut self, layout: u8) -> Self {
        self.layout = Some(layout);
        self
    }

    /// As if built for another machine, by its number in ELF headers.
    pub(crate) fn machine(mut self, machine: u16) -> Self {
        self.machine = Some(machine);
        self
    }

    /// With another mark, so that its answers tell which build they are from.
    pub(crate) fn mark(mut self, mark: &str) -> Self {
        assert_eq!(mark.len(), MARK.len(), "the mark has its place in the file");
        self.mark = Some(mark.to_owned());
        self
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut file = fs::read(artifacts().library(self.fixture)).expect("the fixture");
        if let Some(mark) = &self.mark {
            let places: Vec<usize> = places_of(&file, MARK.as_bytes());
            assert!(!places.is_empty(), "the fixture has its mark");
            for at in places {
                file[at..at + MARK.len()].copy_from_slice(mark.as_bytes());
            }
        }
        let mut record = file[section(&file, STAMP_SECTION).1].to_vec();
        let mut fields = fields_of(&record);
        for (place, text) in &self.texts {
            fields[*place].clone_from(text);
        }
        record = stamp(fields.each_ref().map(String::as_str)).to_vec();
        if let Some(layout) = self.layout {
            record[7] = layout;
        }
        file = with_section(file, STAMP_SECTION, &record);
        if let Some(machine) = self.machine {
            // e_machine of the ELF header.
            file[18..20].copy_from_slice(&machine.to_le_bytes());
        }
        with_section(file, MANIFEST_SECTION, self.manifest.as_bytes())
    }
}

/// The texts of a stamp, in order.
fn fields_of(record: &[u8]) -> [String; 9] {
    let fields = read_stamp(record).expect("the fixture's stamp");
    let texts = [
        fields.api_version,
        fields.rustc,
        fields.target,
        fields.panic,
        fields.name,
        fields.version,
        fields.description,
        fields.authors,
        fields.license,
    ];
    assert!(texts.iter().all(|text| text.len() <= TEXT_BYTES));
    texts
}

fn places_of(file: &[u8], text: &[u8]) -> Vec<usize> {
    file.windows(text.len()).enumerate().filter(|(_, window)| *window == text).map(|(at, _)| at).collect()
}

/// The index of a section, and where its bytes are.
fn section(file: &[u8], name: &str) -> (usize, Range<usize>) {
    let header = Header::parse(file).expect("an ELF file");
    let sections = header.sections(LittleEndian, file).expect("sections");
    let (index, found) = sections.section_by_name(LittleEndian, name.as_bytes()).expect("the section");
    let (start, size) = found.file_range(LittleEndian).expect("a section with bytes");
    let start = usize::try_from(start).expect("a place");
    (index.0, start..start + usize::try_from(size).expect("a size"))
}

/// A file with other bytes in a section: they stand at the end of the file, and the section's header points there.
pub(crate) fn with_section(mut file: Vec<u8>, name: &str, bytes: &[u8]) -> Vec<u8> {
    let (index, _) = section(&file, name);
    let table = Header::parse(&*file).expect("an ELF file").e_shoff.get(LittleEndian);
    let entry = usize::try_from(table).expect("a place") + index * size_of::<SectionHeader64<LittleEndian>>();
    let start = file.len() as u64;
    file.extend_from_slice(bytes);
    // sh_offset and sh_size of a 64-bit section header.
    file[entry + 24..entry + 32].copy_from_slice(&start.to_le_bytes());
    file[entry + 32..entry + 40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    file
}
