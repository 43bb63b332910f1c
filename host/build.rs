//! Makes the host's executable export what its loader interposes, and nothing else: a module's library must not
//! bind to the host's own copy of SQLite. Linkers usually export these by themselves, since the C library defines
//! the same names; the loader checks at start, and this leaves nothing to luck.

/// What `loader::interpose` defines.
const INTERPOSED: [&str; 5] =
    ["__cxa_thread_atexit_impl", "pthread_create", "pthread_key_create", "pthread_key_delete", "pthread_setspecific"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        for name in INTERPOSED {
            println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={name}");
        }
    }
}
