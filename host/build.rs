//! Makes the host's executable export what its loader interposes. Linkers usually do so by themselves where
//! the C library defines the same name; the loader checks at start, and this leaves nothing to luck.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo::rustc-link-arg-bins=-rdynamic");
    }
}
