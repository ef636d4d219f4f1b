//! Temporary folders that only their owner can enter, with paths short enough for sockets.

use std::env;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{self, PathBuf};

use tempfile::TempDir;

use crate::error::{Doing, Result};

/// The longest path, in bytes, of a folder to make ours in. A socket's path may have 103 bytes (macOS; Linux: 107), of
/// which `/controlplane-123456/etcd.sock`, the longest that we add, takes 30.
const LONGEST: usize = 73;

/// A new folder in the user's folder for such things (`TMPDIR`), or in `/tmp` if that one's path is too long.
pub(crate) fn folder(prefix: &str) -> Result<TempDir> {
    let base = path::absolute(env::temp_dir()).doing(|| "find the folder for temporary files")?;
    let base = if base.as_os_str().len() > LONGEST { PathBuf::from("/tmp") } else { base };
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(&base)
        .doing(|| format!("make a temporary folder in {}", base.display()))
}
