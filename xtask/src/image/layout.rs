//! An OCI image layout: the folder that `skopeo`, `crane`, `podman` and others read images from.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use oci_spec::image::{
    Arch, ConfigBuilder, Descriptor, DescriptorBuilder, Digest as ImageDigest, HistoryBuilder,
    ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder, MediaType, OciLayoutBuilder, Os,
    PlatformBuilder, RootFsBuilder, SCHEMA_VERSION,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Recipe, RootFs};
use crate::error::{Doing, Result};

/// The name of the image in its layout, by the annotation that tools look for.
const NAME: &str = "org.opencontainers.image.ref.name";
const VERSION: &str = "org.opencontainers.image.version";

/// Writes it in place of what was there, and gives the digest of the image's manifest.
pub(super) fn write(root: &RootFs, recipe: &Recipe, date: u64, folder: &Path) -> Result<String> {
    match fs::remove_dir_all(folder) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
    .doing(|| format!("make {} anew", folder.display()))?;
    let blobs = Blobs::new(folder)?;
    let (layer, content) = blobs.layer(root, date)?;
    let architecture = Arch::from(root.architecture().to_string().as_str());
    let created = timestamp(date)?;

    let mut config = ConfigBuilder::default()
        .user(&*recipe.user)
        .entrypoint(recipe.entrypoint.clone())
        .env(recipe.environment.clone())
        .exposed_ports(recipe.ports.clone())
        .labels(recipe.labels.clone().into_iter().collect::<HashMap<_, _>>());
    if !recipe.command.is_empty() {
        config = config.cmd(recipe.command.clone());
    }
    let config = config.build().doing(|| "describe how the image is run")?;
    let rootfs = RootFsBuilder::default().diff_ids([content]).build().doing(|| "name the layer's content")?;
    let history = HistoryBuilder::default().created(&*created).created_by("cargo xtask image").build();
    let image = ImageConfigurationBuilder::default()
        .created(created)
        .architecture(architecture.clone())
        .os(Os::Linux)
        .config(config)
        .rootfs(rootfs)
        .history([history.doing(|| "describe the layer")?])
        .build()
        .doing(|| "describe the image")?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(blobs.json(&image, MediaType::ImageConfig)?)
        .layers([layer])
        .build()
        .doing(|| "list the image's parts")?;

    let mut descriptor = blobs.json(&manifest, MediaType::ImageManifest)?;
    let digest = descriptor.digest().to_string();
    let platform = PlatformBuilder::default().architecture(architecture).os(Os::Linux).build();
    descriptor.set_platform(Some(platform.doing(|| "name the platform")?));
    let name = recipe.labels.get(VERSION).cloned().unwrap_or_else(|| "latest".to_owned());
    descriptor.set_annotations(Some([(NAME.to_owned(), name)].into()));
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([descriptor])
        .build()
        .doing(|| "list the images")?;
    put(&folder.join("index.json"), &canonical(&index)?)?;
    let version = OciLayoutBuilder::default().image_layout_version("1.0.0").build();
    put(&folder.join("oci-layout"), &canonical(&version.doing(|| "name the layout's version")?)?)?;
    Ok(digest)
}

/// The parts of an image, each in a file that is named by its hash.
struct Blobs(PathBuf);

impl Blobs {
    fn new(layout: &Path) -> Result<Self> {
        let folder = layout.join("blobs/sha256");
        fs::create_dir_all(&folder).doing(|| format!("make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// The root filesystem as a layer, and the digest of its archive before it was compressed.
    fn layer(&self, root: &RootFs, date: u64) -> Result<(Descriptor, String)> {
        let partial = self.0.join("partial");
        let file = fs::File::create(&partial).doing(|| format!("write {}", partial.display()))?;
        // Neither a name nor a time in the header: the same content has the same hash.
        let packed = GzEncoder::new(Hashing::new(io::BufWriter::new(file)), Compression::best());
        let archive = root.archive(date, Hashing::new(packed))?;
        let (packed, content) = archive.end();
        let (mut file, digest) = packed.finish().doing(|| "compress the layer")?.end();
        file.flush().doing(|| format!("write {}", partial.display()))?;
        let size = fs::metadata(&partial).doing(|| format!("measure {}", partial.display()))?.len();
        fs::rename(&partial, self.0.join(&digest)).doing(|| format!("name {}", partial.display()))?;
        Ok((describe(MediaType::ImageLayerGzip, &digest, size)?, format!("sha256:{content}")))
    }

    fn json(&self, part: &impl Serialize, kind: MediaType) -> Result<Descriptor> {
        let text = canonical(part)?;
        let digest = hex::encode(Sha256::digest(&text));
        put(&self.0.join(&digest), &text)?;
        describe(kind, &digest, text.len() as u64)
    }
}

fn describe(kind: MediaType, digest: &str, size: u64) -> Result<Descriptor> {
    let digest: ImageDigest = format!("sha256:{digest}").parse().doing(|| "name a part of the image")?;
    DescriptorBuilder::default()
        .media_type(kind)
        .digest(digest)
        .size(size)
        .build()
        .doing(|| "name a part of the image")
}

/// JSON whose keys are in order: the types have maps without one, and the order would change the hash.
fn canonical(part: &impl Serialize) -> Result<Vec<u8>> {
    let mut value = serde_json::to_value(part).doing(|| "write a part of the image")?;
    value.sort_all_objects();
    serde_json::to_vec(&value).doing(|| "write a part of the image")
}

fn put(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).doing(|| format!("write {}", path.display()))
}

fn timestamp(seconds: u64) -> Result<String> {
    let date = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    date.map(|date| date.to_string()).ok_or("it is too late").doing(|| format!("write the date {seconds}"))
}

/// Hashes what passes through it.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new() }
    }

    fn end(self) -> (W, String) {
        (self.inner, hex::encode(self.hash.finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
