//! The generated files are what the code says now.

use std::path::Path;

#[test]
fn generated_files_are_up_to_date() {
    let operator = Path::new(env!("CARGO_BIN_EXE_cloud-image-operator"));
    // Prints what differs, and says which command mends it.
    if let Err(stale) = xtask::generate::with_operator(operator, true) {
        panic!("{stale}");
    }
}
