//! The root filesystem of an image: a program, what it is linked with, and the few files that programs expect.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use pem::Pem;
use tar::{EntryType, Header};

use super::packages;
use super::program::{self, Architecture};
use crate::error::{Doing, Result};

/// Where the programs are, in the PATH that container engines set.
const PROGRAMS: &str = "usr/local/bin";

/// Root, so that files have an owner with a name, and who the program runs as; `nonroot` has this number in
/// distroless images too.
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";

/// The C library asks `/etc/hosts`, then DNS; without this file it would ask DNS first.
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// Tells scanners whose packages those of [`packages`] are.
const OS_RELEASE: &str = "etc/os-release";

/// What is in an image, in the order of its paths, which do not begin with a slash.
#[derive(Debug)]
pub struct RootFs {
    architecture: Architecture,
    nodes: BTreeMap<PathBuf, Node>,
}

#[derive(Debug)]
struct Node {
    mode: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Folder,
    Text(String),
    CopyOf(PathBuf),
}

impl RootFs {
    /// All that the program needs, under the name of its file, and nothing else: no shell, no package manager.
    pub fn of(program: &Path) -> Result<Self> {
        let name =
            program.file_name().ok_or("it has no name").doing(|| format!("pack {}", program.display()))?;
        let mut root = Self { architecture: Architecture::of(program)?, nodes: BTreeMap::new() };
        root.add(Path::new(PROGRAMS).join(name), 0o755, Content::CopyOf(program.to_owned()));
        root.add("tmp", 0o1777, Content::Folder);
        root.text("etc/passwd", PASSWD);
        root.text("etc/group", GROUP);
        root.text("etc/nsswitch.conf", NSSWITCH);
        root.text("etc/ssl/certs/ca-certificates.crt", certificates());

        let libraries = program::libraries(program)?;
        for library in &libraries {
            let path = library.strip_prefix("/").doing(|| format!("place {}", library.display()))?;
            // Whatever the packager's mode: the loader is run, the others are mapped.
            root.add(path, 0o755, Content::CopyOf(library.clone()));
        }
        let owners = packages::owners(libraries.iter().map(PathBuf::as_path))?;
        if !owners.is_empty() {
            root.add(OS_RELEASE, 0o644, Content::CopyOf(Path::new("/").join(OS_RELEASE)));
        }
        for package in owners {
            root.text(Path::new("var/lib/dpkg/status.d").join(&package.name), package.record);
            let copyright = Path::new("usr/share/doc").join(package.name).join("copyright");
            root.add(copyright, 0o644, Content::CopyOf(package.copyright));
        }
        Ok(root)
    }

    /// The processor that the program is for.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Writes it as a folder, in place of what was there. Modes are exact whatever the umask; the owner is whoever
    /// writes.
    pub fn write(&self, folder: &Path) -> Result<()> {
        match fs::remove_dir_all(folder) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
            _ => fs::create_dir_all(folder),
        }
        .doing(|| format!("make {} anew", folder.display()))?;
        set_mode(folder, 0o755)?;
        for (path, node) in &self.nodes {
            let path = folder.join(path);
            match &node.content {
                Content::Folder => fs::create_dir(&path),
                Content::Text(text) => fs::write(&path, text),
                Content::CopyOf(source) => fs::copy(source, &path).map(drop),
            }
            .doing(|| format!("write {}", path.display()))?;
            set_mode(&path, node.mode)?;
        }
        Ok(())
    }

    /// Writes it as a tar archive in which everything belongs to root and is from `date`, in seconds since 1970.
    pub(super) fn archive<W: Write>(&self, date: u64, writer: W) -> Result<W> {
        let mut archive = tar::Builder::new(writer);
        for (path, node) in &self.nodes {
            let mut header = Header::new_gnu();
            header.set_mode(node.mode);
            header.set_mtime(date);
            header.set_uid(0);
            header.set_gid(0);
            let (kind, size, data): (_, _, Box<dyn Read>) = match &node.content {
                Content::Folder => (EntryType::Directory, 0, Box::new(io::empty())),
                Content::Text(text) => (EntryType::Regular, text.len() as u64, Box::new(text.as_bytes())),
                Content::CopyOf(source) => {
                    let (file, size) = File::open(source)
                        .and_then(|file| file.metadata().map(|metadata| (file, metadata.len())))
                        .doing(|| format!("read {}", source.display()))?;
                    (EntryType::Regular, size, Box::new(file))
                }
            };
            header.set_entry_type(kind);
            header.set_size(size);
            archive.append_data(&mut header, path, data).doing(|| format!("archive {}", path.display()))?;
        }
        archive.into_inner().doing(|| "end the archive")
    }

    fn text(&mut self, path: impl AsRef<Path>, text: impl Into<String>) {
        self.add(path, 0o644, Content::Text(text.into()));
    }

    /// Adds something, and the folders above it.
    fn add(&mut self, path: impl AsRef<Path>, mode: u32, content: Content) {
        let path = path.as_ref();
        for folder in path.ancestors().skip(1).filter(|folder| *folder != Path::new("")) {
            self.nodes.entry(folder.to_owned()).or_insert(Node { mode: 0o755, content: Content::Folder });
        }
        self.nodes.insert(path.to_owned(), Node { mode, content });
    }
}

/// The certificate authorities that Mozilla trusts, as the lock file pins them: the same wherever the image is built,
/// and none that only the builder's machine trusts.
fn certificates() -> String {
    let certificates: Vec<_> = webpki_root_certs::TLS_SERVER_ROOT_CERTS
        .iter()
        .map(|root| Pem::new("CERTIFICATE", root.as_ref()))
        .collect();
    let unix = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_many_config(&certificates, unix)
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .doing(|| format!("set the mode of {}", path.display()))
}
