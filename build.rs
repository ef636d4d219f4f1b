//! How a release is linked.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    let release = is("PROFILE", "release");
    // Of what a program has to have put right when it is loaded, each takes 24 bytes; packed, a few bits. docs/adr has the figures.
    // Where Rust links with its own linker, it is known to be able to; what is packed needs glibc 2.36 or later.
    if release && is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
