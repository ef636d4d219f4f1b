//! Code blocks can be used as they stand: shells, YAML and JSON parse, and the operator knows its flags.

use super::page::{Block, pages};
use cloud_image_operator::kinds::{KINDS, crds};
use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};

/// Languages that a block may have.
const LANGUAGES: &[&str] = &["sh", "console", "yaml", "json", "lua", "text", "rust", "promql", "cel"];

#[test]
fn blocks_name_their_language_and_parse() {
    for page in pages() {
        for block in &page.blocks {
            let at = format!("{}, under {:?}", page.path.display(), block.under);
            let language = block.language.as_str();
            assert!(LANGUAGES.contains(&language), "{at}: a code block of language {language:?}");
            match language {
                "yaml" => {
                    for document in block.text.split("\n---\n") {
                        let read = serde_saphyr::from_str::<serde_json::Value>(document);
                        assert!(read.is_ok(), "{at}: {}\n{document}", read.unwrap_err());
                    }
                }
                "json" => {
                    let read = serde_json::from_str::<serde_json::Value>(&block.text);
                    assert!(read.is_ok(), "{at}: {}", read.unwrap_err());
                }
                "sh" | "console" => {
                    let script = script(block);
                    let checked = shell(&["-n"], &script);
                    assert!(checked.is_ok(), "{at}: {}\n{script}", checked.unwrap_err());
                }
                _ => {}
            }
        }
    }
}

#[test]
fn flags_of_the_operator_exist() {
    let help = Command::new(env!("CARGO_BIN_EXE_cloud-image-operator")).args(["run", "--help"]).output();
    let help = String::from_utf8(help.expect("the operator runs").stdout).expect("text");
    let known: BTreeSet<_> = flags(&help).collect();
    for page in pages() {
        for block in page.blocks.iter().filter(|block| matches!(block.language.as_str(), "sh" | "console")) {
            for line in script(block).replace("\\\n", " ").lines() {
                let Some((_, arguments)) = line
                    .split_once("cloud-image-operator run")
                    .or_else(|| line.split_once("cloud-image-operator -- run"))
                else {
                    continue;
                };
                for flag in flags(arguments) {
                    assert!(known.contains(flag), "{}: {flag} in {line}", page.path.display());
                }
            }
        }
    }
}

fn flags(text: &str) -> impl Iterator<Item = &str> {
    text.split(|char: char| !(char.is_ascii_alphanumeric() || char == '-'))
        .filter(|word| word.starts_with("--") && word.len() > 2)
}

/// What is left out of a command that is meant for all kinds stays behind when somebody uninstalls.
#[test]
fn a_list_of_kinds_has_all_of_them() {
    let all = crds(KINDS).into_iter().map(|crd| crd.spec.names.plural);
    let plurals: Vec<_> = all.filter(|plural| !plural.ends_with("accounts")).collect();
    for page in pages() {
        for line in page.blocks.iter().flat_map(|block| block.text.lines()) {
            let named = |plural: &&String| line.contains(plural.as_str());
            let lacks: Vec<_> = plurals.iter().filter(|plural| !named(plural)).collect();
            let lists = plurals.len() - lacks.len() > 2;
            assert!(!lists || lacks.is_empty(), "{}: {line} lacks {lacks:?}", page.path.display());
        }
    }
}

/// What a reader types: all of a block of `sh`, and what stands behind the prompts of a `console`.
pub fn script(block: &Block) -> String {
    if block.language == "sh" {
        return block.text.clone();
    }
    block.text.lines().filter_map(|line| line.strip_prefix("$ ")).map(|line| format!("{line}\n")).collect()
}

fn shell(arguments: &[&str], script: &str) -> Result<(), String> {
    let mut shell = Command::new("sh")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| why.to_string())?;
    shell.stdin.take().expect("a pipe").write_all(script.as_bytes()).map_err(|why| why.to_string())?;
    let output = shell.wait_with_output().map_err(|why| why.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
