//! One module file: reads manifest and stamp from it and decides whether this host could run it. Runs
//! nothing, opens no library, changes nothing.

use std::{
    fs::{File, Metadata, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use module_api::stamp::{self, MAGIC, MANIFEST_SECTION, STAMP_BYTES, STAMP_SECTION, StampFields};
use semver::{Version, VersionReq};

use super::{
    declared::Manifest,
    elf::{self, UnloadFacts},
    parse::ManifestError,
    source::ManifestProblem,
};

/// The version of module-api that this host was built with.
static HOST_API: LazyLock<Version> =
    LazyLock::new(|| module_api::VERSION.parse().expect("Cargo gives packages semver versions only"));

/// The machine that this host runs on, by its number in ELF headers; 0 where modules can't be loaded at all.
const HOST_MACHINE: u16 = if cfg!(target_arch = "x86_64") {
    object::elf::EM_X86_64.0
} else if cfg!(target_arch = "aarch64") {
    object::elf::EM_AARCH64.0
} else {
    0
};

/// Which file was read, and in which state: two reads with equal identities saw the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
    /// In bytes.
    pub size: u64,
    /// When it was written last.
    pub modified: SystemTime,
}

impl FileIdentity {
    /// The identity of the file that `metadata` describes.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.len(),
            modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        }
    }
}

/// A file that this host could open as a module.
#[derive(Debug, Clone)]
pub struct ModuleFile {
    /// What it declares.
    pub manifest: Arc<Manifest>,
    /// How it was built. Another rustc than the host's is no reason to refuse.
    pub stamp: Arc<StampFields>,
    /// What was read.
    pub identity: FileIdentity,
    /// Whether it can be unloaded, as far as the file says.
    pub unload: UnloadFacts,
}

/// One reason why this host can't run a module that is well formed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Incompatibility {
    /// It is for another machine.
    #[error("is built for {found}, this host runs on {}", std::env::consts::ARCH)]
    Machine {
        /// Its machine.
        found: String,
    },
    /// Its stamp has another layout: it belongs to another major version of module-api.
    #[error("has a stamp of layout {found}, this host reads {}", MAGIC[7])]
    StampLayout {
        /// The layout's number.
        found: u8,
    },
    /// It is for another target.
    #[error("is built for target `{found}`, this host for `{}`", stamp::API_TEXTS[2])]
    Target {
        /// Its target triple.
        found: String,
    },
    /// Its panics would end the host.
    #[error("is built with panic strategy `{found}`, only `unwind` is safe to run")]
    Panic {
        /// Its strategy.
        found: String,
    },
    /// Its binary interface is another one.
    #[error("is built with module-api {found}, this host has {host}: the major versions differ")]
    ApiMajor {
        /// What it was built with.
        found: Version,
        /// What this host has.
        host: Version,
    },
    /// Its manifest rules this host out.
    #[error("needs a host with module-api `{range}`, this host has {host}")]
    HostApi {
        /// What `host-api` asks for.
        range: VersionReq,
        /// What this host has.
        host: Version,
    },
}

/// Why a file is no module that this host could run.
#[derive(Debug, thiserror::Error)]
pub enum ModuleFileError {
    /// It could not be opened or read; a later try may succeed.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// A folder, pipe, socket or device.
    #[error("is not a regular file")]
    NotAFile,
    /// Its first bytes are others.
    #[error("is not an ELF file")]
    NotElf,
    /// A program or an object file.
    #[error("is an ELF file but not a shared library")]
    NotShared,
    /// Something that its headers speak of is not in the file.
    #[error("is cut short: {what} ends at byte {end}, the file at byte {bytes}")]
    CutShort {
        /// What.
        what: String,
        /// Where it would end.
        end: u64,
        /// The size of the file.
        bytes: u64,
    },
    /// Its headers contradict each other.
    #[error("is damaged: {0} can't be right")]
    Damaged(&'static str),
    /// A section that each module has is missing.
    #[error("has no section `{0}`\nhint: a module ends with `module_api::export_module!(...)`")]
    NoSection(&'static str),
    /// It does not export what a module exports.
    #[error("exports no module\nhint: a module ends with `module_api::export_module!(...)`")]
    NoEntry,
    /// A section is there more than once.
    #[error("has more than one section `{0}`")]
    SectionTwice(&'static str),
    /// A section is larger than the host reads.
    #[error("`{name}` has {bytes} bytes, at most {limit} are read")]
    SectionTooLarge {
        /// Which.
        name: String,
        /// How large it is.
        bytes: u64,
        /// What is permitted.
        limit: u64,
    },
    /// The stamp can't be read.
    #[error("has a bad stamp: {0}")]
    Stamp(String),
    /// The manifest is wrong; all that is wrong with it.
    #[error("has an invalid manifest: {}", .0.iter().map(ManifestProblem::to_string).collect::<Vec<_>>().join("; "))]
    Manifest(Vec<ManifestProblem>),
    /// It is well formed, but not for this host; every reason.
    #[error("{}", .0.iter().map(Incompatibility::to_string).collect::<Vec<_>>().join("; "))]
    Incompatible(Vec<Incompatibility>),
}

impl ModuleFileError {
    /// `MODULE_INCOMPATIBLE` where another host could run it, else `MANIFEST_INVALID`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Incompatible(_) => "MODULE_INCOMPATIBLE",
            _ => "MANIFEST_INVALID",
        }
    }

    /// Whether the same file may be readable later.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreadable(_))
    }

    /// Each problem by itself, in the order of the file.
    pub fn problems(&self) -> Vec<String> {
        match self {
            Self::Manifest(problems) => problems.iter().map(|it| format!("module.toml, {it}")).collect(),
            Self::Incompatible(reasons) => reasons.iter().map(Incompatibility::to_string).collect(),
            other => vec![other.to_string()],
        }
    }

    /// For an ELF file whose words or byte order are not those that this reader knows.
    pub(super) fn other_kind(is_64_bit: bool, is_little_endian: bool) -> Self {
        let bits = if is_64_bit { "64" } else { "32" };
        let order = if is_little_endian { "little" } else { "big" };
        Self::Incompatible(vec![Incompatibility::Machine { found: format!("a {bits}-bit {order}-endian machine") }])
    }
}

impl ModuleFile {
    /// Reads a module from its file: headers, the sections `.tenon_manifest` (at most 1 MiB) and
    /// `.tenon_stamp`, and the dynamic symbols. Nothing is mapped and nothing is run.
    ///
    /// # Errors
    ///
    /// What is wrong with the file comes before what is wrong with the host; `host-api` comes before all
    /// other keys of the manifest. [`ModuleFileError::problems`] has all reasons of the first kind found.
    pub fn read(path: &Path) -> Result<Self, ModuleFileError> {
        // Without O_NONBLOCK, opening a pipe that somebody put into the folder would wait for a writer.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
        let file = opened.map_err(ModuleFileError::Unreadable)?;
        let metadata = file.metadata().map_err(ModuleFileError::Unreadable)?;
        if !metadata.is_file() {
            return Err(ModuleFileError::NotAFile);
        }
        Self::read_open(&file, FileIdentity::of(&metadata))
    }

    fn read_open(file: &File, identity: FileIdentity) -> Result<Self, ModuleFileError> {
        // A stamp of a later layout may be longer; it must be readable for its layout to be named.
        let stamp_limit = 16 * STAMP_BYTES as u64;
        let manifest_section = (MANIFEST_SECTION, Manifest::MAX_BYTES);
        let parts = elf::read(file, identity.size, manifest_section, (STAMP_SECTION, stamp_limit))?;
        let mut reasons = Vec::new();
        if parts.machine != HOST_MACHINE {
            reasons.push(Incompatibility::Machine { found: machine_name(parts.machine) });
        }
        let same_magic = parts.stamp.get(..MAGIC.len() - 1) == Some(&MAGIC[..MAGIC.len() - 1]);
        if let Some(layout) = parts.stamp.get(MAGIC.len() - 1).filter(|layout| same_magic && **layout != MAGIC[7]) {
            reasons.push(Incompatibility::StampLayout { found: *layout });
            return Err(ModuleFileError::Incompatible(reasons));
        }
        let fields = stamp::read_stamp(&parts.stamp).map_err(ModuleFileError::Stamp)?;
        reasons.extend(stamp_reasons(&fields)?);
        match Manifest::parse(&parts.manifest, &fields, &HOST_API) {
            Err(ManifestError::HostApi { range, host }) => reasons.push(Incompatibility::HostApi { range, host }),
            // What rules the host out weighs more: keys that look wrong may be those of another host.
            _ if !reasons.is_empty() => {}
            Err(ManifestError::Invalid(problems)) => return Err(ModuleFileError::Manifest(problems)),
            Ok(manifest) => {
                let (manifest, stamp) = (Arc::new(manifest), Arc::new(fields));
                return Ok(Self { manifest, stamp, identity, unload: parts.unload });
            }
        }
        Err(ModuleFileError::Incompatible(reasons))
    }
}

/// What the stamp says against this host.
fn stamp_reasons(fields: &StampFields) -> Result<Vec<Incompatibility>, ModuleFileError> {
    let api: Version = fields.api_version.parse().map_err(|error| {
        let shown = super::source::shown(&fields.api_version);
        ModuleFileError::Stamp(format!("its module-api version is `{shown}`: {error}"))
    })?;
    let mut reasons = Vec::new();
    if fields.target != stamp::API_TEXTS[2] {
        reasons.push(Incompatibility::Target { found: super::source::shown(&fields.target) });
    }
    if fields.panic != "unwind" {
        reasons.push(Incompatibility::Panic { found: super::source::shown(&fields.panic) });
    }
    if api.major != HOST_API.major {
        reasons.push(Incompatibility::ApiMajor { found: api, host: HOST_API.clone() });
    }
    Ok(reasons)
}

fn machine_name(machine: u16) -> String {
    match object::elf::Machine(machine) {
        object::elf::EM_X86_64 => "x86_64".to_owned(),
        object::elf::EM_AARCH64 => "aarch64".to_owned(),
        object::elf::EM_RISCV => "riscv64".to_owned(),
        object::elf::EM_PPC64 => "powerpc64".to_owned(),
        object::elf::Machine(other) => format!("ELF machine {other}"),
    }
}
