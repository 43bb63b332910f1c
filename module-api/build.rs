//! Tells the crate which compiler and target it is built with; both go into each module's stamp.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let version = Command::new(rustc)
        .arg("--version")
        .output()
        .ok()
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo::rustc-env=TENON_RUSTC={version}");
    println!("cargo::rustc-env=TENON_TARGET={}", std::env::var("TARGET").unwrap_or_default());
}
