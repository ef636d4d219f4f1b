//! What a program needs in order to start, as its file says; nothing is run for it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use goblin::elf::header::{EM_AARCH64, EM_X86_64, header64::Header};
use lddtree::DependencyAnalyzer;

use crate::error::{Doing, Error, Result};

/// A processor that there are images for, by its name in OCI images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
}

impl Architecture {
    /// The architecture that an ELF file is for.
    pub fn of(program: &Path) -> Result<Self> {
        let mut file = File::open(program).doing(|| format!("open {}", program.display()))?;
        let header = Header::from_fd(&mut file)
            .doing(|| format!("read {}, which should be a Linux program", program.display()))?;
        match header.e_machine {
            EM_X86_64 => Ok(Self::Amd64),
            EM_AARCH64 => Ok(Self::Arm64),
            other => Err(Error::Failed(format!(
                "{} is for ELF machine {other}; images are made for amd64 and arm64",
                program.display()
            ))),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        })
    }
}

/// The loader and the shared libraries of a program, at the paths where the loader looks for them; none of a static one.
pub(super) fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let tree = DependencyAnalyzer::default()
        .analyze(program)
        .doing(|| format!("read what {} is linked with", program.display()))?;
    let loader = tree.interpreter.map(PathBuf::from);
    let mut paths = BTreeSet::new();
    for library in tree.libraries.into_values() {
        if !library.found() {
            return Err(Error::Failed(format!(
                "{} needs {}, which is not on this machine",
                program.display(),
                library.name
            )));
        }
        // The C library names the loader among its own libraries; it is there already when that one is loaded.
        if loader.as_ref().is_none_or(|loader| loader.file_name() != library.path.file_name()) {
            paths.insert(library.path);
        }
    }
    paths.extend(loader);
    Ok(paths)
}
