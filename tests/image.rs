//! The container images: the operator works with nothing but what is in its image, and an OCI image says how it is run.
#![cfg(target_os = "linux")]

use clap::Args;
use oci_spec::image::{Arch, Digest, ImageConfiguration, ImageIndex, ImageManifest, Os};
use parse_dockerfile::{Instruction, Source};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use xtask::{
    controlplane::{self, ControlPlane},
    identity,
    image::{self, PROGRAMS, Recipe, RootFs},
    interrupt,
    kubectl::Kubectl,
    process::Launch,
    tools,
};

const OPERATOR: &str = "cloud-image-operator";

/// How long the operator may take to be ready; much longer than it takes.
const PATIENCE: Duration = Duration::from_secs(240);

/// A program of this machine that is small, and linked with the C library like the operator.
fn small() -> RootFs {
    RootFs::of(&shell()).expect("its needs are found")
}

fn shell() -> PathBuf {
    fs::canonicalize("/bin/sh").expect("Linux has a shell")
}

/// A root filesystem in a folder of its own.
struct Image(TempDir);

impl Image {
    fn of(program: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        RootFs::of(Path::new(program))
            .and_then(|root| root.write(&folder.path().join("rootfs")))
            .expect("an image");
        Self(folder)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("rootfs")
    }

    /// The start of a command that runs in the image as its Dockerfile says.
    fn command(&self, recipe: &Recipe) -> Option<Command> {
        let mut command = confined(&self.root(), recipe)?;
        command.args(&recipe.entrypoint);
        Some(command)
    }
}

/// Runs what follows with this root folder, as this user where that is possible, and with no other environment. `None`:
/// whoever runs the test may not do that here.
fn confined(root: &Path, recipe: &Recipe) -> Option<Command> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let may = |program: &str, arguments: &[&str]| {
        let tried = Command::new(program).args(arguments).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let user = format!("--userspec={}", recipe.user);
    let (before, user): (&[&str], _) = if is_root {
        (&[], Some(user))
    } else if may("sudo", &["--non-interactive", "true"]) {
        (&["sudo", "--non-interactive"], Some(user)) // runners of CI
    } else if may("unshare", &["--map-root-user", "true"]) {
        (&["unshare", "--map-root-user"], None) // only one user is known there
    } else {
        return None;
    };
    let words = [before, &["env", "--ignore-environment"]].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(&recipe.environment);
    // env has no PATH then to find it by.
    let chroot = ["/usr/sbin/chroot", "/usr/bin/chroot"].into_iter().find(|file| Path::new(file).exists());
    command.arg(chroot.expect("coreutils has chroot")).args(user).arg(root);
    Some(command)
}

/// What a command that should succeed prints.
fn output(command: &mut Command) -> String {
    let output = command.output().expect("it can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} ended with {}: {errors}", output.status);
    String::from_utf8(output.stdout).expect("it prints text")
}

/// How the operator runs in its image; `None`: it cannot be tried here.
fn operator(image: &Image) -> Option<(Recipe, impl Fn(&Recipe) -> Command)> {
    let recipe = image::recipe(OPERATOR).expect("the Dockerfile is understood");
    if image.command(&recipe).is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI has to be root, or allowed to become it");
        eprintln!("skipped: neither root, nor sudo without a password, nor user namespaces");
        return None;
    }
    Some((recipe, |recipe: &Recipe| image.command(recipe).expect("what was allowed a moment ago")))
}

#[test]
fn the_operator_starts_with_nothing_but_its_image() {
    let image = Image::of(env!("CARGO_BIN_EXE_cloud-image-operator"));
    let Some((recipe, command)) = operator(&image) else { return };
    let version = output(command(&recipe).arg("--version"));
    assert_eq!(version.trim(), concat!("cloud-image-operator ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn the_operator_works_with_nothing_but_its_image() {
    let image = Image::of(env!("CARGO_BIN_EXE_cloud-image-operator"));
    let Some((recipe, command)) = operator(&image) else { return };

    let plane = ControlPlane::start().expect("the control plane starts");
    let kubectl = Kubectl::new(plane.kubeconfig()).expect("kubectl is there");
    let crds = output(command(&recipe).arg("crds"));
    let apply = ["apply", "--server-side", "--filename=-"];
    let mut apply = kubectl.command().args(apply).stdin(Stdio::piped()).spawn().expect("kubectl starts");
    apply.stdin.take().expect("a pipe").write_all(crds.as_bytes()).expect("kubectl reads");
    assert!(apply.wait().expect("kubectl ends").success());

    identity::grant(&kubectl, &image.root().join("kubeconfig")).expect("the manifests are accepted");
    fs::set_permissions(image.root().join("kubeconfig"), PermissionsExt::from_mode(0o644))
        .expect("it is ours");
    let port = controlplane::free_port().expect("a free port");
    let environment = vec!["KUBECONFIG=/kubeconfig".into(), "RUST_BACKTRACE=1".into()];
    let mut run = command(&Recipe { environment, ..recipe.clone() });
    run.args(&recipe.command).arg(format!("--metrics-addr=127.0.0.1:{port}"));
    let mut operator = Launch::new("the operator", run)
        .log(image.0.path().join("log"))
        .grace(Duration::from_secs(30))
        .start()
        .expect("the operator starts");
    let ready = interrupt::wait_for(PATIENCE, Duration::from_millis(100), || {
        operator.expect_running()?;
        Ok(get(port, "/readyz").starts_with("HTTP/1.1 200").then_some(()))
    });
    assert!(ready.expect("the operator runs").is_some(), "never ready: {}", operator.log());
    let ended = operator.stop().expect("it ends");
    assert_eq!(ended.code(), Some(0), "SIGTERM ends it well");
}

/// An answer of the operator's, or nothing as long as there is none.
fn get(port: u16, path: &str) -> String {
    use std::{io::Read, net::TcpStream};
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().unwrap_or_default()
}

#[test]
fn the_root_filesystem_is_readable_by_its_user_and_has_no_more_than_it_needs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path().join("rootfs");
    small().write(&root).expect("an image");
    // Written again, nothing of before is left.
    fs::write(root.join("stale"), "").expect("it is written");
    small().write(&root).expect("an image");

    let mut top: Vec<_> =
        fs::read_dir(&root).expect("a folder").map(|entry| entry.unwrap().file_name()).collect();
    top.retain(|name| name != "lib" && name != "lib64" && name != "nix"); // where the C library is differs
    top.sort();
    let (packaged, bare) = (["etc", "tmp", "usr", "var"].as_slice(), ["etc", "tmp", "usr"].as_slice());
    assert!(top == packaged || top == bare, "{top:?}");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    assert_eq!(mode(&root.join("tmp")), 0o1777);
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                assert!(
                    path == root.join("tmp") || mode(&path) == 0o755,
                    "{}: {:o}",
                    path.display(),
                    mode(&path)
                );
                folders.push(path);
            } else {
                assert!([0o644, 0o755].contains(&mode(&path)), "{}: {:o}", path.display(), mode(&path));
            }
        }
    }
    let passwd = fs::read_to_string(root.join("etc/passwd")).expect("it is there");
    for program in PROGRAMS {
        let user = image::recipe(program).expect("the Dockerfile is understood").user;
        let (id, group) =
            user.split_once(':').expect("user and group, as numbers, which Kubernetes can check");
        assert_ne!((id, group), ("0", "0"));
        assert!(passwd.contains(&format!(":x:{id}:{group}:")), "{user} has no name in {passwd}");
    }
    // Where the operator looks for the certificate authorities, and all of them are understood.
    let found = rustls_native_certs::load_certs_from_paths(
        Some(&root.join("etc/ssl/certs/ca-certificates.crt")),
        None,
    );
    assert!(
        found.errors.is_empty() && found.certs.len() > 100,
        "{} certificates: {:?}",
        found.certs.len(),
        found.errors
    );
    if Path::new("/var/lib/dpkg/status").exists() {
        let record =
            fs::read_to_string(root.join("var/lib/dpkg/status.d/libc6")).expect("scanners see the C library");
        assert!(record.contains("Package: libc6\n") && record.contains("\nVersion: "), "{record}");
        assert!(root.join("usr/share/doc/libc6/copyright").exists() && root.join("etc/os-release").exists());
    }
}

#[test]
fn an_oci_image_says_how_it_is_run_and_is_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for program in PROGRAMS {
        let layout = folder.path().join(program);
        let recipe = image::recipe(program).expect("the Dockerfile is understood");
        let digest = image::write_layout(&small(), &recipe, &layout).expect("a layout");
        let again = image::write_layout(&small(), &recipe, &folder.path().join("again"));
        assert_eq!(again.expect("a layout"), digest);

        let index = ImageIndex::from_file(layout.join("index.json")).expect("an index");
        let [image] = &index.manifests()[..] else { panic!("{index:?}") };
        let architecture = if cfg!(target_arch = "aarch64") { Arch::ARM64 } else { Arch::Amd64 };
        let platform = image.platform().as_ref().expect("a platform");
        assert_eq!((platform.os(), platform.architecture()), (&Os::Linux, &architecture));
        assert_eq!(image.digest().to_string(), digest);
        let manifest = ImageManifest::from_reader(blob(&layout, image.digest())).expect("a manifest");
        let config =
            ImageConfiguration::from_reader(blob(&layout, manifest.config().digest())).expect("a config");
        assert_eq!((config.os(), config.architecture()), (&Os::Linux, &architecture));
        let run = config.config().as_ref().expect("how it is run");
        assert_eq!(run.user().as_deref(), Some("65532:65532"));
        assert_eq!(run.entrypoint().as_ref().unwrap()[..], [format!("/usr/local/bin/{program}")]);
        let labels = run.labels().as_ref().expect("labels");
        let label = |name: &str| labels[&format!("org.opencontainers.image.{name}")].as_str();
        assert_eq!(label("title"), program);
        assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
        if program == OPERATOR {
            assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
            assert_eq!(run.cmd().as_ref().unwrap()[..], ["run"]);
            assert_eq!(run.exposed_ports().as_ref().unwrap()[..], ["8080"]);
        }

        // All parts are there, whole, and the layer is the root filesystem, everything in it root's.
        let parts = manifest.layers().iter().chain([image, manifest.config()]);
        for part in parts {
            assert_eq!(blob(&layout, part.digest()).metadata().unwrap().len(), part.size());
        }
        let [layer] = &manifest.layers()[..] else { panic!("{manifest:?}") };
        let listed = output(
            Command::new("tar")
                .args(["--list", "--gzip", "--verbose", "--numeric-owner", "--file"])
                .arg(path(&layout, layer.digest())),
        );
        assert!(listed.lines().all(|line| line.contains(" 0/0 ")), "{listed}");
        let shell = shell();
        let program_line = format!(" usr/local/bin/{}", shell.file_name().unwrap().display());
        assert!(
            listed.lines().any(|line| line.starts_with("drwxrwxrwt") && line.ends_with(" tmp")),
            "{listed}"
        );
        assert!(
            listed.lines().any(|line| line.starts_with("-rwxr-xr-x") && line.ends_with(&program_line)),
            "{listed}"
        );
        // Hashed by another program than ours.
        let sum = output(Command::new("sha256sum").arg(path(&layout, layer.digest())));
        assert!(sum.starts_with(layer.digest().digest()), "{sum}");
        let unpacked = output(
            Command::new("sh")
                .args(["-c", "gzip --decompress --stdout \"$0\" | sha256sum"])
                .arg(path(&layout, layer.digest())),
        );
        let contents = config.rootfs().diff_ids();
        assert_eq!(contents[..], [format!("sha256:{}", unpacked.split_whitespace().next().unwrap())]);
    }
}

#[test]
fn a_registry_takes_the_oci_image() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let layout = folder.path().join("layout");
    let recipe = image::recipe(OPERATOR).expect("the Dockerfile is understood");
    let digest = image::write_layout(&small(), &recipe, &layout).expect("a layout");

    let crane = tools::crane().expect("crane is built");
    let port = controlplane::free_port().expect("a free port");
    let mut serve = Command::new(&crane);
    serve.args(["registry", "serve", &format!("--address=127.0.0.1:{port}")]);
    let mut registry = Launch::new("the registry", serve)
        .log(folder.path().join("log"))
        .start()
        .expect("the registry starts");
    let up = interrupt::wait_for(PATIENCE, Duration::from_millis(50), || {
        registry.expect_running()?;
        Ok(get(port, "/v2/").starts_with("HTTP/1.1 200").then_some(()))
    });
    assert!(up.expect("the registry runs").is_some(), "{}", registry.log());

    let name = format!("127.0.0.1:{port}/{OPERATOR}:test");
    let pushed = output(Command::new(&crane).arg("push").arg(&layout).arg(&name));
    assert!(pushed.trim().ends_with(&format!("@{digest}")), "{pushed}");
    output(Command::new(&crane).args(["validate", "--remote", &name]));
    let config = output(Command::new(&crane).args(["config", &name]));
    let config = ImageConfiguration::from_reader(config.as_bytes()).expect("a config");
    assert_eq!(config.config().as_ref().and_then(|run| run.user().as_deref()), Some(&*recipe.user));
}

fn path(layout: &Path, digest: &Digest) -> PathBuf {
    layout.join("blobs/sha256").join(digest.digest())
}

fn blob(layout: &Path, digest: &Digest) -> File {
    File::open(path(layout, digest)).expect("the part is there")
}

#[test]
fn the_dockerfile_builds_with_the_toolchain_of_the_project() {
    let root = xtask::workspace::root();
    let read = |name: &str| fs::read_to_string(root.join(name)).expect("it is there");
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).expect("a channel");
    let dockerfile = read("Dockerfile");
    assert!(
        dockerfile.contains(&format!("\nARG RUST={}\n", channel.trim_matches('"'))),
        "rust-toolchain.toml: {channel}"
    );
}

#[test]
fn the_chart_runs_these_images_of_this_version() {
    let root = xtask::workspace::root().join("charts/cloud-image-operator");
    let read = |name: &str| -> serde_json::Value {
        let text = fs::read_to_string(root.join(name)).expect("it is there");
        serde_saphyr::from_str(&text).expect("it is YAML")
    };
    let (chart, values) = (read("Chart.yaml"), read("values.yaml"));
    for field in ["version", "appVersion"] {
        assert_eq!(chart[field], env!("CARGO_PKG_VERSION"), "{field} of Chart.yaml");
    }
    let images = [&values["image"], &values["simulator"]["image"]];
    for (program, image) in PROGRAMS.into_iter().zip(images) {
        let repository = image["repository"].as_str().expect("a repository");
        assert!(repository.ends_with(&format!("/{program}")), "{repository}");
        assert_eq!(image["tag"], "", "another version than the chart's");
        let context = &values["podSecurityContext"];
        let user = format!("{}:{}", context["runAsUser"], context["runAsGroup"]);
        assert_eq!(image::recipe(program).expect("the Dockerfile is understood").user, user);
    }
}

/// What no engine has tried here: that the build stage calls what there is, and copies what there is.
#[test]
fn the_dockerfile_calls_and_copies_what_there_is() {
    let root = xtask::workspace::root();
    let text = fs::read_to_string(root.join("Dockerfile")).expect("it is there");
    let parsed = parse_dockerfile::parse(&text).expect("it is understood");
    let stage = parsed.stage("build").expect("it builds");
    let (mut copied, mut ran) = (vec![], String::new());
    for instruction in stage.instructions {
        match instruction {
            Instruction::Copy(copy) => {
                copied.extend(copy.src.iter().map(|source| match source {
                    Source::Path(path) => path.value.clone().into_owned(),
                    other => panic!("{other:?} is no file of the checkout"),
                }));
            }
            Instruction::Run(run) => match &run.arguments {
                parse_dockerfile::Command::Shell(text) => ran += text.value,
                other => panic!("{other:?}"),
            },
            _ => {}
        }
    }
    assert_eq!(copied, ["."], "the checkout, but for what .dockerignore names");
    // Whatever the programs are made of is in it.
    let ignored = fs::read_to_string(root.join(".dockerignore")).expect("it is there");
    let ignored: Vec<_> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    for needed in [
        ".cargo",
        "Cargo.toml",
        "Cargo.lock",
        "Dockerfile",
        "LICENSE",
        "rust-toolchain.toml",
        "src",
        "simulator",
        "xtask",
    ] {
        assert!(root.join(needed).exists(), "{needed}");
        assert!(!ignored.contains(&&*format!("/{needed}")), "{needed} is not copied");
    }
    for pattern in &ignored {
        assert!(
            pattern.starts_with('/') || *pattern == "*.md",
            "{pattern} may name what the programs are made of"
        );
    }
    // The command takes these arguments.
    let (_, call) = ran.split_once("cargo xtask ").expect("the command");
    let call = call.replace("\"${PROFILE}\"", "release");
    let image = image::Options::augment_args(clap::Command::new("image"));
    let taken = image.try_get_matches_from(call.split_whitespace());
    assert!(taken.is_ok(), "{call}: {}", taken.unwrap_err());
    assert!(
        call.starts_with("image ") && call.contains("--output /image"),
        "{call}, and /image is copied later"
    );
}
