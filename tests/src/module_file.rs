//! Reads of a module's file what the loader wants to be told: name, version, routes, and why it can't be
//! unloaded. For tests of the loader alone; the host reads files in a room of its own, with all checks.

use std::path::{Path, PathBuf};

use object::{
    Endianness, Object, ObjectSection,
    read::elf::{ElfFile64, Sym},
};
use tenon_host::loader::{Generation, LoadError, Loader, OpenRequest, Route};

/// A module's file.
#[derive(Debug, Clone)]
pub struct ModuleFile {
    /// Where it lies.
    pub path: PathBuf,
    /// By its manifest.
    pub name: String,
    /// By its manifest, else by its stamp.
    pub version: String,
    /// By its manifest.
    pub routes: Vec<Route>,
    /// Why it can't be unloaded.
    pub unload_note: Option<String>,
}

fn text(table: &toml::Table, key: &str) -> Option<String> {
    table.get(key)?.as_str().map(str::to_owned)
}

impl ModuleFile {
    /// Reads a file.
    ///
    /// # Panics
    ///
    /// Where it is no module.
    pub fn read(path: &Path) -> Self {
        let data = std::fs::read(path).unwrap_or_else(|error| {
            panic!("{}: {error}; the fixtures are built by `cargo test -p e2e`", path.display())
        });
        let file = ElfFile64::<Endianness>::parse(data.as_slice()).expect("a 64-bit ELF file");
        let section = |name: &str| {
            let section = file.section_by_name(name).unwrap_or_else(|| panic!("{} has no {name}", path.display()));
            section.data().expect("the section's data").to_vec()
        };
        let manifest = String::from_utf8(section(".tenon_manifest")).expect("a manifest in UTF-8");
        let manifest: toml::Table = manifest.parse().expect("a manifest in TOML");
        let stamp = module_api::stamp::read_stamp(&section(".tenon_stamp")).expect("a stamp");
        let endpoints = manifest.get("routes").and_then(|routes| routes.get("endpoints")?.as_array());
        let routes = endpoints.into_iter().flatten().filter_map(toml::Value::as_table);
        let endian = file.endian();
        let unique = file.elf_dynamic_symbol_table().iter().any(|symbol| {
            let is_unique = symbol.st_bind() == object::elf::STB_GNU_UNIQUE;
            is_unique && !symbol.is_undefined(endian)
        });
        Self {
            path: path.to_owned(),
            name: text(&manifest, "name").expect("a name"),
            version: text(&manifest, "version").unwrap_or(stamp.version),
            routes: routes
                .filter_map(|route| Some(Route { method: text(route, "method")?, path: text(route, "path")? }))
                .collect(),
            unload_note: unique.then(|| "it has a GNU_UNIQUE symbol".to_owned()),
        }
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// As [`Loader::open`].
    pub fn open(&self, loader: &Loader) -> Result<std::sync::Arc<Generation>, LoadError> {
        loader.open(&OpenRequest {
            path: &self.path,
            name: &self.name,
            version: &self.version,
            expected_routes: &self.routes,
            verify: &|_, _| Ok(()),
            unload_note: self.unload_note.clone(),
        })
    }
}
