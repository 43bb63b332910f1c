//! A library as the dynamic linker knows it: opening, checking the interface, closing, looking whether it is
//! gone. Refuses abi_stable's own loader, which never closes a library and whose process-wide cache of
//! layouts would keep pointers into closed ones.

#![expect(unsafe_code, reason = "opens libraries, reads their root, closes them")]

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
};

use abi_stable::{
    abi_stability::{
        StableAbi,
        abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals},
    },
    library::{AbiHeaderRef, ROOT_MODULE_LOADER_NAME_WITH_NUL},
    type_layout::TypeLayout,
};
use libloading::Library;
use module_api::abi::RootRef;

use super::{footprint, objects};

/// Held while a range of addresses gets or loses its library: else a library could be opened in the range of
/// one that is gone but not yet struck off.
static MAPPING: Mutex<()> = Mutex::new(());

/// A mapped library. Never closed by being dropped: only [`Mapped::close`] does that.
#[derive(Debug)]
pub(super) struct Mapped {
    handle: Option<Library>,
    serial: u64,
    bytes: u64,
    unload_note: Option<String>,
}

impl Mapped {
    /// Maps a staged copy and runs its constructors.
    ///
    /// # Errors
    ///
    /// The first line of what the dynamic linker said.
    pub(super) fn open(path: &Path, serial: u64) -> Result<Self, String> {
        let _mapping = MAPPING.lock().unwrap_or_else(PoisonError::into_inner);
        let handle = footprint::while_opening(serial, path, || link(path)).map_err(|error| {
            // Where it failed after its constructors had run.
            footprint::vacate(serial);
            let said = said(&error);
            tracing::debug!(path = %path.display(), "the dynamic linker: {said}");
            first_line(&said, path)
        })?;
        let mut mapped = Self { handle: Some(handle), serial, bytes: 0, unload_note: objects::pinned_by_need(path) };
        if let Some((start, end)) = mapped.header_address().and_then(|address| objects::range_around(address, None)) {
            footprint::occupy(serial, (start, end));
            mapped.bytes = (end - start) as u64;
        }
        Ok(mapped)
    }

    /// How much of the address space it takes; 0 where that is not known.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why it can't be unloaded although the linker would do so.
    pub(super) fn unload_note(&self) -> Option<&str> {
        self.unload_note.as_deref()
    }

    fn header(&self) -> Option<AbiHeaderRef> {
        let handle = self.handle.as_ref()?;
        // SAFETY: the symbol is abi_stable's, a static header whose address is what `AbiHeaderRef` is; its
        // first bytes are compared with abi_stable's magic text before anything else is read.
        unsafe { handle.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) }.ok().map(|header| *header)
    }

    fn header_address(&self) -> Option<usize> {
        self.header().map(|header| std::ptr::from_ref(&*header) as usize)
    }

    /// The module's root, after its interface was compared with this host's.
    ///
    /// # Errors
    ///
    /// One line that says what differs.
    pub(super) fn root(&self) -> Result<RootRef, String> {
        let header = self.header().ok_or("it has no entry for a host; was it made with `export_module!`?")?;
        // Every error is turned into text here: they refer to the library's own data.
        let header = header.upgrade().map_err(|error| {
            tracing::debug!("the header of a module: {error}");
            "it was built with another version of abi_stable".to_owned()
        })?;
        let theirs = header.layout().ok_or("it has no description of its interface")?;
        let ours = <RootRef as StableAbi>::LAYOUT;
        // The history of module-api is linear, so the older side's layout is a prefix of the newer one's; the
        // check wants the older side first.
        compare(ours, theirs).or_else(|one| {
            compare(theirs, ours).map_err(|other| {
                tracing::debug!("the layout of a module, host first: {one}");
                tracing::debug!("the layout of a module, module first: {other}");
                format!("the layout of its interface is not that of module-api {}", module_api::VERSION)
            })
        })?;
        // SAFETY: the layouts were compared above.
        unsafe { header.init_root_module_with_unchecked_layout::<RootRef>() }.map_err(|error| {
            tracing::debug!("the root of a module: {error}");
            format!("its version of module-api does not go with {}", module_api::VERSION)
        })
    }

    /// Closes the library and looks whether it is gone. Gives the library back where it is not.
    ///
    /// # Safety
    ///
    /// No thread is in the library's code or will get there again: nothing that came from it is left, its
    /// threads have ended, and no destructor of it is registered with a thread.
    pub(super) unsafe fn close(mut self, path: &Path) -> Result<(), (Self, String)> {
        let _mapping = MAPPING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = self.handle.take()
            && let Err(error) = handle.close()
        {
            footprint::retain(self.serial);
            return Err((self, first_line(&said(&error), path)));
        }
        if is_mapped(path) {
            footprint::retain(self.serial);
            return Err((self, "the dynamic linker keeps it mapped after it was closed".to_owned()));
        }
        footprint::vacate(self.serial);
        Ok(())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // Whoever lets go of it without closing wants it to stay mapped.
        std::mem::forget(self.handle.take());
    }
}

#[cfg(unix)]
fn link(path: &Path) -> Result<Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: runs the library's constructors; a module is trusted code, and its file was checked to be one.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(Into::into)
}

#[cfg(not(unix))]
fn link(path: &Path) -> Result<Library, libloading::Error> {
    // SAFETY: as above.
    unsafe { Library::new(path) }
}

fn compare(older: &'static TypeLayout, newer: &'static TypeLayout) -> Result<(), String> {
    // Fresh ones each time: they collect pointers into the library.
    check_layout_compatibility_with_globals(older, newer, &CheckingGlobals::new()).map_err(|error| error.to_string())
}

/// What the linker itself said, which is the error's source.
fn said(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// What the linker said, without the path of the staged copy, which says nothing to anybody.
fn first_line(text: &str, path: &Path) -> String {
    let text = text.replace(&format!("{}: ", path.display()), "");
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// Whether the process's map still names the copy. Its file name is unique within the process.
#[cfg(target_os = "linux")]
fn is_mapped(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match std::fs::read("/proc/self/maps") {
        Ok(maps) => String::from_utf8_lossy(&maps).lines().any(|line| line.contains(&name)),
        // What can't be looked up is not promised.
        Err(_) => true,
    }
}

#[cfg(not(target_os = "linux"))]
fn is_mapped(_: &Path) -> bool {
    true
}
