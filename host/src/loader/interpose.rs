//! The functions of the C library that this executable defines before the C library does.
//!
//! A module's undefined symbols bind to the executable's first, so what a module registers for the end of a
//! thread, and the threads it starts, come by here. Calls that are not a module's go on to the C library
//! unchanged. Linux with glibc only; elsewhere [`installed`] says no and nothing is ever unloaded.

#![expect(unsafe_code, reason = "defines and calls functions of the C library")]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub use gnu::installed;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) use gnu::{Key, delete_key, take_value};

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub use elsewhere::installed;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) use elsewhere::{Key, delete_key, take_value};

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod gnu {
    use std::{
        ffi::{CStr, c_int, c_void},
        ptr::null_mut,
        sync::atomic::{AtomicPtr, AtomicU64, Ordering},
    };

    use super::super::footprint::{self, Destructor};

    /// A key of the C library.
    pub(in super::super) type Key = libc::pthread_key_t;
    type Start = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

    /// The next definition of a symbol after this executable's, looked up once.
    struct Real {
        name: &'static CStr,
        found: AtomicPtr<c_void>,
    }

    impl Real {
        const fn new(name: &'static CStr) -> Self {
            Self { name, found: AtomicPtr::new(null_mut()) }
        }

        fn address(&self) -> *mut c_void {
            let known = self.found.load(Ordering::Relaxed);
            if !known.is_null() {
                return known;
            }
            // SAFETY: the name ends with a NUL, and this executable is loaded, so it has a next object.
            let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            self.found.store(found, Ordering::Relaxed);
            found
        }
    }

    static REAL_ATEXIT: Real = Real::new(c"__cxa_thread_atexit_impl");
    static REAL_KEY_CREATE: Real = Real::new(c"pthread_key_create");
    static REAL_KEY_DELETE: Real = Real::new(c"pthread_key_delete");
    static REAL_SETSPECIFIC: Real = Real::new(c"pthread_setspecific");
    static REAL_CREATE: Real = Real::new(c"pthread_create");

    /// Gives the real function its type.
    macro_rules! real {
        ($which:ident as $kind:ty) => {{
            let address = $which.address();
            if address.is_null() {
                None
            } else {
                // SAFETY: the address is what the C library exports under this name, whose type in its
                // headers is the one given; a function pointer and a data pointer have one size here.
                Some(unsafe { std::mem::transmute::<*mut c_void, $kind>(address) })
            }
        }};
    }

    type Atexit = unsafe extern "C" fn(Destructor, *mut c_void, *mut c_void) -> c_int;
    type KeyCreate = unsafe extern "C" fn(*mut Key, Option<Destructor>) -> c_int;
    type KeyDelete = unsafe extern "C" fn(Key) -> c_int;
    type SetSpecific = unsafe extern "C" fn(Key, *const c_void) -> c_int;
    type Create = unsafe extern "C" fn(*mut libc::pthread_t, *const libc::pthread_attr_t, Start, *mut c_void) -> c_int;

    /// One bit for each key that was made by a module: a look at it is all that other keys pay.
    static KEYS_OF_MODULES: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

    fn bit(key: Key) -> Option<(&'static AtomicU64, u64)> {
        let word = KEYS_OF_MODULES.get(usize::try_from(key).ok()? / 64)?;
        Some((word, 1 << (key % 64)))
    }

    fn is_of_module(key: Key) -> bool {
        bit(key).is_some_and(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// Registers a destructor for the end of the calling thread.
    ///
    /// # Safety
    ///
    /// As the C library's: `destructor` may be called with `object` on this thread at its end.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn __cxa_thread_atexit_impl(
        destructor: Destructor,
        object: *mut c_void,
        library: *mut c_void,
    ) -> c_int {
        if footprint::take_destructor(destructor, object, library as usize) {
            return 0;
        }
        // SAFETY: the caller's own arguments, passed on.
        real!(REAL_ATEXIT as Atexit).map_or(-1, |real| unsafe { real(destructor, object, library) })
    }

    /// Makes a key. The C library never learns a module's destructor: it would call it at the end of a thread
    /// at any time, also while the library is being unmapped.
    ///
    /// # Safety
    ///
    /// As the C library's: `key` can be written.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn pthread_key_create(key: *mut Key, destructor: Option<Destructor>) -> c_int {
        let Some(real) = real!(REAL_KEY_CREATE as KeyCreate) else { return libc::EAGAIN };
        let of_module = destructor.filter(|destructor| footprint::is_module(*destructor as usize));
        let Some(destructor) = of_module else {
            // SAFETY: the caller's own arguments, passed on.
            return unsafe { real(key, destructor) };
        };
        // SAFETY: the caller's key; without a destructor nothing is called.
        let made = unsafe { real(key, None) };
        if made == 0 {
            // SAFETY: the C library has just written it.
            let key = unsafe { *key };
            match bit(key) {
                Some((word, bit)) => {
                    footprint::take_key(key, destructor);
                    word.fetch_or(bit, Ordering::Release);
                }
                // A C library with more keys than glibc has ever had: refuse rather than lose the destructor.
                None => {
                    delete_key(key);
                    return libc::EAGAIN;
                }
            }
        }
        made
    }

    /// Deletes a key.
    ///
    /// # Safety
    ///
    /// As the C library's.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn pthread_key_delete(key: Key) -> c_int {
        if is_of_module(key) {
            footprint::drop_key(key);
        }
        delete_key(key)
    }

    /// Sets the calling thread's value under a key.
    ///
    /// # Safety
    ///
    /// As the C library's: the key's destructor may be called with `value` on this thread at its end.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn pthread_setspecific(key: Key, value: *const c_void) -> c_int {
        if !value.is_null() && is_of_module(key) {
            footprint::use_key(key);
        }
        // SAFETY: the caller's own arguments, passed on.
        real!(REAL_SETSPECIFIC as SetSpecific).map_or(libc::ENOMEM, |real| unsafe { real(key, value) })
    }

    /// A module's thread before it began.
    struct Begun {
        start: Start,
        argument: *mut c_void,
        area: u64,
    }

    /// Starts a thread; one whose code is a module's is counted.
    ///
    /// # Safety
    ///
    /// As the C library's.
    #[unsafe(no_mangle)]
    pub(super) unsafe extern "C" fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start: Start,
        argument: *mut c_void,
    ) -> c_int {
        let Some(real) = real!(REAL_CREATE as Create) else { return libc::EAGAIN };
        let Some(area) = footprint::begin_thread(start as usize) else {
            // SAFETY: the caller's own arguments, passed on.
            return unsafe { real(thread, attributes, start, argument) };
        };
        let begun = Box::into_raw(Box::new(Begun { start, argument, area }));
        // SAFETY: the caller's own arguments; `run_counted` takes the box.
        let started = unsafe { real(thread, attributes, run_counted, begun.cast()) };
        if started != 0 {
            // SAFETY: no thread was started, so the box is still this function's.
            drop(unsafe { Box::from_raw(begun) });
            footprint::abandon_thread(area);
        }
        started
    }

    // "C-unwind": `pthread_exit` unwinds through this frame, which then has nothing to drop.
    unsafe extern "C-unwind" fn run_counted(begun: *mut c_void) -> *mut c_void {
        // SAFETY: `pthread_create` made the box for this thread alone.
        let Begun { start, argument, area } = *unsafe { Box::from_raw(begun.cast::<Begun>()) };
        footprint::adopt_thread(area);
        // SAFETY: what the module asked to be called with this argument.
        unsafe { start(argument) }
    }

    /// The calling thread's value under a key, which is empty after that.
    pub(in super::super) fn take_value(key: Key) -> *mut c_void {
        // SAFETY: reading a key, even a deleted one, has no precondition.
        let value = unsafe { libc::pthread_getspecific(key) };
        if !value.is_null()
            && let Some(real) = real!(REAL_SETSPECIFIC as SetSpecific)
        {
            // SAFETY: an empty value has no destructor to call.
            unsafe { real(key, std::ptr::null()) };
        }
        value
    }

    /// Deletes a key without telling the footprint.
    pub(in super::super) fn delete_key(key: Key) -> c_int {
        if let Some((word, bit)) = bit(key) {
            word.fetch_and(!bit, Ordering::Release);
        }
        // SAFETY: deleting a key calls nothing; one that is none is refused by the C library.
        real!(REAL_KEY_DELETE as KeyDelete).map_or(libc::EINVAL, |real| unsafe { real(key) })
    }

    /// Whether modules' calls really come by here: each name, looked up as a library would, is this
    /// executable's function, and the C library has one after it.
    pub fn installed() -> bool {
        let ours: [(&Real, usize); 5] = [
            (&REAL_ATEXIT, __cxa_thread_atexit_impl as *const () as usize),
            (&REAL_KEY_CREATE, pthread_key_create as *const () as usize),
            (&REAL_KEY_DELETE, pthread_key_delete as *const () as usize),
            (&REAL_SETSPECIFIC, pthread_setspecific as *const () as usize),
            (&REAL_CREATE, pthread_create as *const () as usize),
        ];
        ours.iter().all(|(real, ours)| {
            // SAFETY: the name ends with a NUL; the default search has no precondition.
            let first = unsafe { libc::dlsym(libc::RTLD_DEFAULT, real.name.as_ptr()) };
            first as usize == *ours && !real.address().is_null()
        })
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod elsewhere {
    use std::{ffi::c_void, ptr::null_mut};

    /// Stands for a key; none is ever recorded here.
    pub(in super::super) type Key = u32;

    /// Nothing is interposed on this platform, so nothing may be unloaded.
    pub fn installed() -> bool {
        false
    }

    pub(in super::super) fn take_value(_: Key) -> *mut c_void {
        null_mut()
    }

    pub(in super::super) fn delete_key(_: Key) -> i32 {
        0
    }
}
