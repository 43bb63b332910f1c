//! Module files for tests, made by hand: the smallest ELF library with a manifest and a stamp, and switches
//! for what can be wrong with it.

use module_api::stamp::{self, StampFields};

/// A module file to be; [`Sample::bytes`] makes it.
pub(crate) struct Sample {
    /// The content of `.tenon_manifest`; `None` leaves the section out.
    pub(crate) manifest: Option<Vec<u8>>,
    /// The content of `.tenon_stamp`; `None` leaves the section out.
    pub(crate) stamp: Option<Vec<u8>>,
    pub(crate) machine: u16,
    pub(crate) kind: u16,
    pub(crate) unique_symbols: Vec<&'static str>,
    pub(crate) flags_1: u64,
    /// Whether the dynamic segment says where names and symbols are.
    pub(crate) is_linkable: bool,
    /// Whether the symbol of a module is there.
    pub(crate) exports_entry: bool,
}

/// A stamp as this host's own module-api would write it.
pub(crate) fn stamp_fields() -> StampFields {
    let [api_version, rustc, target] = stamp::API_TEXTS.map(str::to_owned);
    StampFields {
        api_version,
        rustc,
        target,
        panic: "unwind".to_owned(),
        name: "sample".to_owned(),
        version: "1.2.3".to_owned(),
        description: "A sample".to_owned(),
        authors: "Ann:Bob".to_owned(),
        license: "MIT".to_owned(),
    }
}

pub(crate) fn stamp_bytes(it: &StampFields) -> Vec<u8> {
    let first = [&*it.api_version, &*it.rustc, &*it.target, &*it.panic, &*it.name];
    let rest = [&*it.version, &*it.description, &*it.authors, &*it.license];
    let texts: Vec<&str> = first.into_iter().chain(rest).collect();
    stamp::stamp(texts.try_into().unwrap()).to_vec()
}

impl Sample {
    /// A file that this host accepts if the manifest is right.
    pub(crate) fn new(manifest: &str) -> Self {
        Self {
            manifest: Some(manifest.as_bytes().to_vec()),
            stamp: Some(stamp_bytes(&stamp_fields())),
            machine: if cfg!(target_arch = "aarch64") { 183 } else { 62 },
            kind: 3,
            unique_symbols: Vec::new(),
            flags_1: 0,
            is_linkable: true,
            exports_entry: true,
        }
    }

    /// With another stamp.
    pub(crate) fn stamped(mut self, change: impl FnOnce(&mut StampFields)) -> Self {
        let mut fields = stamp_fields();
        change(&mut fields);
        self.stamp = Some(stamp_bytes(&fields));
        self
    }

    /// The file: header, two program headers (LOAD over all, DYNAMIC), contents, section headers.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        const PROGRAMS_AT: u64 = 64;
        let mut strings = vec![0_u8];
        let mut symbols = vec![0_u8; 24];
        let entry = self.exports_entry.then_some((1_u8, module_api::abi::ENTRY_SYMBOL));
        for (binding, name) in entry.into_iter().chain(self.unique_symbols.iter().map(|name| (10, *name))) {
            symbols.extend((strings.len() as u32).to_le_bytes());
            symbols.extend([binding << 4, 0, 5, 0]);
            symbols.extend([0; 16]);
            strings.extend(name.as_bytes());
            strings.push(0);
        }
        // Places that are right would need the layout; that they are named is what the host looks for.
        let needed = if self.is_linkable { vec![5, 64, 6, 64, 10, 1, 11, 24] } else { Vec::new() };
        let words = needed.into_iter().chain([0x6fff_fffb, self.flags_1, 0, 0]);
        let dynamic: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();

        // Name, type, content, link, entry size.
        let mut sections: Vec<(&str, u32, Vec<u8>, u32, u64)> =
            vec![(".dynsym", 11, symbols, 2, 24), (".dynstr", 3, strings, 0, 0), (".dynamic", 6, dynamic, 2, 16)];
        sections.extend(self.manifest.clone().map(|content| (".tenon_manifest", 1, content, 0, 0)));
        sections.extend(self.stamp.clone().map(|content| (".tenon_stamp", 1, content, 0, 0)));
        let mut names = vec![0_u8];
        for name in sections.iter().map(|section| section.0).chain([".shstrtab"]) {
            names.extend(name.as_bytes());
            names.push(0);
        }
        sections.push((".shstrtab", 3, names.clone(), 0, 0));

        let mut contents = Vec::new();
        let mut headers = vec![0_u8; 64];
        let mut dynamic_at = (0, 0);
        for (name, kind, content, link, entry) in &sections {
            contents.resize(contents.len().next_multiple_of(8), 0);
            let at = PROGRAMS_AT + 2 * 56 + contents.len() as u64;
            if *name == ".dynamic" {
                dynamic_at = (at, content.len() as u64);
            }
            let name_at = names
                .windows(name.len() + 1)
                .position(|window| window[..name.len()] == *name.as_bytes() && window[name.len()] == 0);
            headers.extend((name_at.unwrap() as u32).to_le_bytes());
            headers.extend(kind.to_le_bytes());
            headers.extend([0_u64, at, at, content.len() as u64].iter().flat_map(|word| word.to_le_bytes()));
            headers.extend(link.to_le_bytes());
            headers.extend([0; 4]);
            headers.extend([8_u64, *entry].iter().flat_map(|word| word.to_le_bytes()));
            contents.extend(content);
        }
        contents.resize(contents.len().next_multiple_of(8), 0);
        let sections_at = PROGRAMS_AT + 2 * 56 + contents.len() as u64;
        let end = sections_at + headers.len() as u64;

        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        file.extend([self.kind, self.machine].iter().flat_map(|half| half.to_le_bytes()));
        file.extend(1_u32.to_le_bytes());
        file.extend([0, PROGRAMS_AT, sections_at].iter().flat_map(|word: &u64| word.to_le_bytes()));
        file.extend(0_u32.to_le_bytes());
        let count = sections.len() as u16 + 1;
        file.extend([64_u16, 56, 2, 64, count, count - 1].iter().flat_map(|half| half.to_le_bytes()));
        for (kind, at, size) in [(1_u32, 0, end), (2, dynamic_at.0, dynamic_at.1)] {
            file.extend([kind, 4].iter().flat_map(|half| half.to_le_bytes()));
            file.extend([at, at, at, size, size, 8].iter().flat_map(|word: &u64| word.to_le_bytes()));
        }
        file.extend(contents);
        file.extend(headers);
        file
    }
}
