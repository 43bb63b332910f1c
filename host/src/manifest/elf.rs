//! The few parts of an ELF file that the host needs, read one by one and never mapped: headers, the two
//! sections of a module, and what could keep a library from being unloaded. Refuses files that are cut short.

use std::{cell::Cell, fmt, fs::File, io, os::unix::fs::FileExt};

use object::{
    LittleEndian, ReadCache, ReadCacheOps, ReadRef, elf,
    read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym},
};

use super::module_file::ModuleFileError;

type Header = elf::FileHeader64<LittleEndian>;
type SectionEntry = elf::SectionHeader64<LittleEndian>;
const ENDIAN: LittleEndian = LittleEndian;

/// The most bytes of a table that is only looked through: names, dynamic symbols, dynamic entries. The
/// largest module measured has 40 KB of them; the rest is room.
const MAX_TABLE_BYTES: u64 = 16 * 1024 * 1024;

/// What is known, without opening it, about whether a library can be unloaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnloadFacts {
    /// How many symbols of binding `STB_GNU_UNIQUE` it defines; the loader pins a library with one.
    pub unique_symbols: usize,
    /// The name of the first of them.
    pub first_unique_symbol: Option<String>,
    /// Whether it is linked with `-z nodelete`.
    pub nodelete: bool,
}

impl UnloadFacts {
    /// Why the library will stay mapped once opened; `None` where nothing speaks against unloading.
    pub fn note(&self) -> Option<String> {
        let unique = self.first_unique_symbol.as_ref().map(|name| match self.unique_symbols {
            1 => format!("it defines the GNU_UNIQUE symbol `{name}`"),
            count => format!("it defines {count} GNU_UNIQUE symbols, the first is `{name}`"),
        });
        let nodelete = self.nodelete.then(|| "it is linked with `-z nodelete`".to_owned());
        let reasons: Vec<_> = unique.into_iter().chain(nodelete).collect();
        if reasons.is_empty() { None } else { Some(format!("cannot be unloaded once opened: {}", reasons.join("; "))) }
    }
}

/// What was read of a module's file.
pub(super) struct Parts {
    pub(super) machine: u16,
    pub(super) manifest: Vec<u8>,
    pub(super) stamp: Vec<u8>,
    pub(super) unload: UnloadFacts,
}

/// Reads the parts of a file of `len` bytes, a section named in `wanted` at most up to its limit.
pub(super) fn read(
    file: &File,
    len: u64,
    (manifest, manifest_limit): (&'static str, u64),
    (stamp, stamp_limit): (&'static str, u64),
) -> Result<Parts, ModuleFileError> {
    let failure = Cell::new(None);
    let cache = ReadCache::new(FileReader { file, len, at: 0, failure: &failure });
    let reader = Reader { data: &cache, len };
    let parts = reader.header().and_then(|header| {
        let sections = reader.sections(header)?;
        Ok(Parts {
            machine: header.e_machine(ENDIAN).0,
            manifest: sections.content(manifest, manifest_limit)?,
            stamp: sections.content(stamp, stamp_limit)?,
            unload: sections.unload_facts(header)?,
        })
    });
    // The cache knows only that a read failed. A file that shrank while it was read is cut short; anything
    // else is the disk's.
    match (parts, failure.take()) {
        (Err(_), Some(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
            Err(ModuleFileError::Unreadable(error))
        }
        (parts, _) => parts,
    }
}

/// Positioned reads for the cache: one system call each.
struct FileReader<'f> {
    file: &'f File,
    len: u64,
    at: u64,
    failure: &'f Cell<Option<io::Error>>,
}

impl FileReader<'_> {
    fn note<T>(&self, result: io::Result<T>) -> Result<T, ()> {
        result.map_err(|error| self.failure.set(Some(error)))
    }
}

impl ReadCacheOps for FileReader<'_> {
    fn len(&mut self) -> Result<u64, ()> {
        Ok(self.len)
    }
    fn seek(&mut self, pos: u64) -> Result<u64, ()> {
        self.at = pos;
        Ok(pos)
    }
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ()> {
        let read = self.note(self.file.read_at(buf, self.at))?;
        self.at += read as u64;
        Ok(read)
    }
    fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ()> {
        self.note(self.file.read_exact_at(buf, self.at))?;
        self.at += buf.len() as u64;
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Reader<'d> {
    data: &'d ReadCache<FileReader<'d>>,
    len: u64,
}

impl<'d> Reader<'d> {
    /// The file header of a 64-bit little-endian shared library.
    fn header(self) -> Result<&'d Header, ModuleFileError> {
        let magic = self.data.read_bytes_at(0, 4.min(self.len)).unwrap_or_default();
        if magic != elf::ELFMAG {
            return Err(ModuleFileError::NotElf);
        }
        self.inside("the file header", 0, size_of::<Header>() as u64)?;
        let header = self.data.read_at::<Header>(0).map_err(|()| ModuleFileError::Damaged("its header"))?;
        if !header.is_supported() || header.is_big_endian() {
            return Err(ModuleFileError::other_kind(header.is_class_64(), header.is_little_endian()));
        }
        if header.e_type(ENDIAN) != elf::ET_DYN {
            return Err(ModuleFileError::NotShared);
        }
        Ok(header)
    }

    /// Refuses what would end behind the file.
    fn inside(self, what: impl fmt::Display, offset: u64, size: u64) -> Result<(), ModuleFileError> {
        match offset.checked_add(size) {
            Some(end) if end <= self.len => Ok(()),
            end => {
                Err(ModuleFileError::CutShort { what: what.to_string(), end: end.unwrap_or(u64::MAX), bytes: self.len })
            }
        }
    }

    /// The section table, once everything that headers speak of is known to be in the file.
    fn sections(self, header: &'d Header) -> Result<Sections<'d>, ModuleFileError> {
        let damaged = |what| move |_: object::read::Error| ModuleFileError::Damaged(what);
        let table_bytes = |count: u32, each: usize| u64::from(count) * each as u64;
        let section_start = header.e_shoff.get(ENDIAN);
        if section_start != 0 {
            self.inside("the section header table", section_start, size_of::<SectionEntry>() as u64)?;
        }
        let section_count = header.shnum(ENDIAN, self.data).map_err(damaged("its number of sections"))?;
        let section_bytes = table_bytes(section_count, size_of::<SectionEntry>());
        self.inside("the section header table", section_start, section_bytes)?;
        let program_count = header.phnum(ENDIAN, self.data).map_err(damaged("its number of segments"))?;
        let program_bytes = table_bytes(program_count, size_of::<elf::ProgramHeader64<LittleEndian>>());
        self.inside("the program header table", header.e_phoff.get(ENDIAN), program_bytes)?;
        limited("the section header table", section_bytes, MAX_TABLE_BYTES)?;
        limited("the program header table", program_bytes, MAX_TABLE_BYTES)?;

        let programs = header.program_headers(ENDIAN, self.data).map_err(damaged("its program header table"))?;
        for (place, program) in programs.iter().enumerate() {
            let (offset, size) = program.file_range(ENDIAN);
            self.inside(format_args!("segment {place}"), offset, size)?;
        }
        let entries = header.section_headers(ENDIAN, self.data).map_err(damaged("its section header table"))?;
        for (place, entry) in entries.iter().enumerate().skip(1) {
            if let Some((offset, size)) = entry.file_range(ENDIAN) {
                self.inside(format_args!("section {place}"), offset, size)?;
            }
        }
        let sections = Sections { reader: self, entries, names: &[] };
        if entries.is_empty() {
            return Ok(sections);
        }
        let names_at = header.shstrndx(ENDIAN, self.data).map_err(damaged("the place of its section names"))?;
        let names = entries.get(names_at as usize).ok_or(ModuleFileError::Damaged("the place of its section names"))?;
        Ok(Sections { names: sections.bytes("the section names", names, MAX_TABLE_BYTES)?, ..sections })
    }
}

fn limited(what: &str, bytes: u64, limit: u64) -> Result<(), ModuleFileError> {
    if bytes > limit {
        return Err(ModuleFileError::SectionTooLarge { name: what.to_owned(), bytes, limit });
    }
    Ok(())
}

struct Sections<'d> {
    reader: Reader<'d>,
    entries: &'d [SectionEntry],
    names: &'d [u8],
}

impl<'d> Sections<'d> {
    fn bytes(&self, what: &str, entry: &SectionEntry, limit: u64) -> Result<&'d [u8], ModuleFileError> {
        let Some((offset, size)) = entry.file_range(ENDIAN) else { return Ok(&[]) };
        limited(what, size, limit)?;
        let cut = |()| ModuleFileError::CutShort {
            what: what.to_owned(),
            end: offset.saturating_add(size),
            bytes: self.reader.len,
        };
        self.reader.data.read_bytes_at(offset, size).map_err(cut)
    }

    fn is_named(&self, entry: &SectionEntry, name: &str) -> bool {
        let rest = self.names.get(entry.sh_name(ENDIAN) as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The content of a section that must be there once.
    fn content(&self, name: &'static str, limit: u64) -> Result<Vec<u8>, ModuleFileError> {
        let mut named = self.entries.iter().filter(|entry| self.is_named(entry, name));
        let entry = named.next().ok_or(ModuleFileError::NoSection(name))?;
        if named.next().is_some() {
            return Err(ModuleFileError::SectionTwice(name));
        }
        Ok(self.bytes(name, entry, limit)?.to_vec())
    }

    /// Looks through dynamic symbols and entries: whether the dynamic linker will find its way, and what would
    /// keep the library mapped. The segment counts for the entries, since the linker reads that.
    fn unload_facts(&self, header: &Header) -> Result<UnloadFacts, ModuleFileError> {
        let damaged = |what| move |_: object::read::Error| ModuleFileError::Damaged(what);
        let mut facts = UnloadFacts::default();
        let (mut tags_found, mut has_entry) = ([false; NEEDED_TAGS.len()], false);
        let programs = header.program_headers(ENDIAN, self.reader.data).map_err(damaged("its program header table"))?;
        for program in programs.iter().filter(|program| program.p_type(ENDIAN) == elf::PT_DYNAMIC) {
            limited("the dynamic segment", program.p_filesz(ENDIAN), MAX_TABLE_BYTES)?;
            let entries = program.dynamic(ENDIAN, self.reader.data).map_err(damaged("its dynamic segment"))?;
            for entry in entries.unwrap_or_default().iter().take_while(|it| it.d_tag(ENDIAN) != elf::DT_NULL) {
                for (found, tag) in tags_found.iter_mut().zip(NEEDED_TAGS) {
                    *found |= entry.d_tag(ENDIAN) == tag && entry.d_val(ENDIAN) != 0;
                }
                facts.nodelete |= entry.d_tag(ENDIAN) == elf::DT_FLAGS_1 && entry.d_val(ENDIAN) & NODELETE != 0;
            }
        }
        for table in self.entries.iter().filter(|entry| entry.sh_type(ENDIAN) == elf::SHT_DYNSYM) {
            let what = "the dynamic symbol table";
            let bytes = self.bytes(what, table, MAX_TABLE_BYTES)?;
            let symbols = object::slice_from_all_bytes::<elf::Sym64<LittleEndian>>(bytes);
            let symbols = symbols.map_err(|()| ModuleFileError::Damaged(what))?;
            // Only what the library defines itself pins it; a reference pins whoever defines it.
            let defined = |symbol: &&elf::Sym64<LittleEndian>| symbol.st_shndx(ENDIAN) != elf::SHN_UNDEF;
            for symbol in symbols.iter().filter(defined) {
                has_entry = has_entry || self.symbol_name(table, symbol)? == ENTRY;
                if symbol.st_bind() != elf::STB_GNU_UNIQUE {
                    continue;
                }
                facts.unique_symbols += 1;
                if facts.first_unique_symbol.is_none() {
                    facts.first_unique_symbol = Some(super::source::shown(&self.symbol_name(table, symbol)?));
                }
            }
        }
        // Without these the dynamic linker reads through null pointers: the process would end at the opening.
        if tags_found.contains(&false) {
            return Err(ModuleFileError::Damaged("its dynamic segment"));
        }
        if has_entry { Ok(facts) } else { Err(ModuleFileError::NoEntry) }
    }

    fn symbol_name(&self, table: &SectionEntry, symbol: &elf::Sym64<LittleEndian>) -> Result<String, ModuleFileError> {
        let what = "the names of the dynamic symbols";
        let names = self.entries.get(table.sh_link(ENDIAN) as usize).ok_or(ModuleFileError::Damaged(what))?;
        let rest = self.bytes(what, names, MAX_TABLE_BYTES)?.get(symbol.st_name(ENDIAN) as usize..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }
}

/// The symbol that `export_module!` exports.
const ENTRY: &str = module_api::abi::ENTRY_SYMBOL;

/// What every library has that can be linked dynamically: where its names and symbols are, and their sizes.
const NEEDED_TAGS: [elf::DynamicTag; 4] = [elf::DT_STRTAB, elf::DT_SYMTAB, elf::DT_STRSZ, elf::DT_SYMENT];

/// `DF_1_NODELETE` of the dynamic section's `DT_FLAGS_1`.
const NODELETE: u64 = 0x8;
