//! What is made of files before the program is, and how a release is linked.

use std::{env, fs, path::Path};

const DEFINITIONS: &str = "src/kinds/definitions.json";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={DEFINITIONS}");
    // Without, what generates them can be built all the same.
    let definitions = fs::read(DEFINITIONS).unwrap_or_default();
    let compressed = lz4_flex::block::compress_prepend_size(&definitions);
    let out = env::var("OUT_DIR").expect("cargo says where to put it");
    fs::write(Path::new(&out).join("definitions"), compressed).expect("there is room");

    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let release = is("PROFILE", "release");
    // Of what a program has to have put right when it is loaded, each takes 24 bytes; packed, a few bits. docs/adr has the figures.
    // Where Rust links with its own linker, it is known to be able to; what is packed needs glibc 2.36 or later.
    if release && is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
