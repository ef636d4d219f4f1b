//! The documentation is what the code does: links lead somewhere, code blocks can be used, both languages say the same,
//! every reason is explained, and manifests are accepted by a real API server.

#[path = "harness/harness.rs"]
mod harness;

mod docs {
    mod advised;
    mod blocks;
    mod followed;
    mod images;
    mod languages;
    mod links;
    mod manifests;
    mod page;
    mod reasons;
}
