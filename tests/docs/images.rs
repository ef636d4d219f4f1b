//! The commands of the page about images and releases: typed as they stand where that can be done without a container engine
//! and without a release, and named with the reason where it cannot.

use super::{
    blocks::script,
    page::{page, root},
};
use cloud_image_operator::cli::{COMPLETER, PLUGIN};
use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

const PAGE: &str = "docs/image.md";

/// What a command begins with, and how it is held.
const COMMANDS: &[(&str, Held)] = &[
    ("VERSION=", Held::Here),
    ("REGISTRY=", Held::Here),
    ("WORKFLOW=", Held::Here),
    ("SIGNER=", Held::Here),
    ("docker run --rm IMAGE ", Held::Here),
    (
        "cosign verify ",
        Held::No("it asks a registry for a release, and Sigstore for what its workflow signed"),
    ),
    (
        "cosign verify-blob ",
        Held::No("it takes what a release's workflow signed; the sums that follow are typed"),
    ),
    ("gh attestation verify ", Held::No("it asks GitHub for what a release's workflow said of itself")),
    ("docker buildx imagetools ", Held::No("it asks a registry for a release")),
    ("docker build ", Held::Elsewhere("tests/image.rs", "the_dockerfile_calls_and_copies_what_there_is")),
    (
        "cargo xtask image",
        Held::Elsewhere("tests/image.rs", "an_oci_image_says_how_it_is_run_and_is_the_same_each_time"),
    ),
    ("crane push ", Held::Elsewhere("tests/image.rs", "a_registry_takes_the_oci_image")),
    ("skopeo copy ", Held::No("it is not built here; crane reads the same layout")),
];

/// How it is known that a command works.
enum Held {
    /// It is typed below.
    Here,
    /// This test does what it does.
    Elsewhere(&'static str, &'static str),
    /// It cannot be typed without what this names.
    No(&'static str),
}

/// All commands of the page, each in one line.
fn commands() -> Vec<String> {
    let page = page(PAGE);
    let programs = ["docker ", "cosign ", "gh ", "cargo ", "crane ", "skopeo "];
    let within = page.codes.iter().filter(|code| programs.iter().any(|program| code.starts_with(program)));
    let typed = page.blocks.iter().filter(|block| block.language == "sh").map(script);
    let lines: Vec<_> = typed.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let all = lines.into_iter().filter(|line| !line.trim().is_empty());
    all.chain(within.cloned()).collect()
}

#[test]
fn each_command_about_images_is_typed_or_says_why_not() {
    let commands = commands();
    let mut used = BTreeSet::new();
    for command in &commands {
        let row = COMMANDS.iter().find(|(start, _)| command.starts_with(start));
        let (start, held) = row.unwrap_or_else(|| panic!("{PAGE}: nobody holds {command}"));
        used.insert(*start);
        match held {
            Held::Elsewhere(file, test) => {
                let text = fs::read_to_string(root().join(file)).expect("a test file");
                assert!(text.contains(&format!("fn {test}(")), "{command}: no {test} in {file}");
            }
            Held::No(why) => assert!(!why.is_empty()),
            Held::Here => {}
        }
    }
    let stale: Vec<_> =
        COMMANDS.iter().map(|(start, _)| *start).filter(|start| !used.contains(start)).collect();
    assert!(stale.is_empty(), "{PAGE} has no {stale:?}");

    // The image's entry point is the program.
    for command in commands.iter().filter_map(|command| command.strip_prefix("docker run --rm IMAGE ")) {
        let printed = shell(Path::new("."), &format!("\"$OPERATOR\" {command}"));
        let expected = if command == "crds" { "kind: CustomResourceDefinition" } else { "--allow-endpoint" };
        assert!(printed.contains(expected), "{command}: {printed}");
    }
    // What the commands that verify go by: the workflow that signs, the chart's registry, the released version's form.
    let set: Vec<_> =
        commands.iter().filter(|line| line.split_once('=').is_some_and(|(name, _)| is_name(name))).collect();
    let set = set.into_iter().map(String::as_str).collect::<Vec<_>>().join("\n");
    let said = shell(
        Path::new("."),
        &format!("set -u\n{set}\necho \"$WORKFLOW\"; echo \"$REGISTRY\"; echo \"$SIGNER\""),
    );
    let said: Vec<_> = said.lines().collect();
    let (_, workflow) = said[0].split_once("/.github/").expect("a workflow");
    assert!(root().join(".github").join(workflow).is_file(), "{workflow}");
    let values = fs::read_to_string(root().join("charts/cloud-image-operator/values.yaml")).expect("values");
    assert!(values.contains(&format!("{}/cloud-image-operator", said[1])), "{}", said[1]);
    assert!(said[2].contains(&format!("{}@refs/tags/v1.2.3 ", said[0])), "{}", said[2]);
    let release = fs::read_to_string(root().join(".github/workflows/release.yml")).expect("the workflow");
    // Its archive has the names that kubectl looks for.
    for name in [PLUGIN, COMPLETER] {
        assert!(release.contains(&format!("ln --symbolic cloud-image-operator {name}\n")), "{name}");
    }
    assert!(release.contains(&format!("cloud-image-operator {PLUGIN} {COMPLETER} LICENSE\n")));
    // The sums of a release, made as its workflow makes them and checked as the page says.
    let (_, sum) = release.split_once("sha256sum -- ").expect("it sums up");
    let sum = format!("sha256sum -- {}", sum.lines().next().unwrap_or_default());
    let blob = commands.iter().find(|line| line.starts_with("cosign verify-blob ")).expect("it is there");
    let (_, check) = blob.split_once(" && ").expect("the sums are checked");
    let folder = tempfile::tempdir().expect("a folder");
    let assets = folder.path().join("assets");
    fs::create_dir(&assets).expect("a folder");
    fs::write(assets.join("operator.yaml"), "kind: List").expect("a file");
    shell(&assets, &format!("{sum}\nmv ../checksums.txt ."));
    assert!(shell(&assets, check).contains("operator.yaml: OK"));
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn shell(folder: &Path, text: &str) -> String {
    let mut command = Command::new("sh");
    command
        .args(["-ec", text])
        .current_dir(folder)
        .env("OPERATOR", env!("CARGO_BIN_EXE_cloud-image-operator"));
    let output = command.output().expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
