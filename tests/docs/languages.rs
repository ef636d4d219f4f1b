//! Both languages say the same: the same sections, the same commands and manifests, comments aside.

use super::page::{Block, page};

/// Pages that there are in both languages.
const PAIRS: &[(&str, &str)] = &[
    ("README.md", "README.zh-CN.md"),
    ("docs/introduction.md", "docs/zh/introduction.md"),
    ("docs/quickstart.md", "docs/zh/quickstart.md"),
    ("docs/accounts.md", "docs/zh/accounts.md"),
    ("docs/installing.md", "docs/zh/installing.md"),
    ("docs/tenants.md", "docs/zh/tenants.md"),
    ("docs/troubleshooting.md", "docs/zh/troubleshooting.md"),
    ("docs/backup.md", "docs/zh/backup.md"),
    ("docs/errors.md", "docs/zh/errors.md"),
    ("docs/command-line.md", "docs/zh/command-line.md"),
    ("docs/kinds.md", "docs/zh/kinds.md"),
    ("docs/uses.md", "docs/zh/uses.md"),
    ("docs/new-version.md", "docs/zh/new-version.md"),
    ("docs/preflight.md", "docs/zh/preflight.md"),
    ("docs/distribution.md", "docs/zh/distribution.md"),
];

#[test]
fn every_chinese_page_is_one_of_a_pair() {
    let folder = super::page::root().join("docs/zh");
    for file in std::fs::read_dir(folder).expect("a folder").flatten() {
        let name = format!("docs/zh/{}", file.file_name().to_string_lossy());
        assert!(PAIRS.iter().any(|(_, chinese)| *chinese == name), "{name} is compared with no other page");
    }
}

#[test]
fn both_languages_have_the_same_sections_and_the_same_commands() {
    for (english, chinese) in PAIRS {
        let (left, right) = (page(english), page(chinese));
        let outline = |page: &super::page::Page| {
            page.headings.iter().map(|heading| (heading.level, heading.text.clone())).collect::<Vec<_>>()
        };
        let (left_outline, right_outline) = (outline(&left), outline(&right));
        for (here, there) in left_outline.iter().zip(&right_outline) {
            assert_eq!(here.0, there.0, "{english}: {:?}, {chinese}: {:?}", here.1, there.1);
            // What is no word of a language is the same in both.
            if here.1.chars().all(|char| char.is_ascii_alphanumeric()) && right.path.ends_with("errors.md") {
                assert_eq!(here.1, there.1, "{english} and {chinese}");
            }
        }
        assert_eq!(left_outline.len(), right_outline.len(), "{english} and {chinese} have other sections");
        let (left, right) = (blocks(&left.blocks), blocks(&right.blocks));
        for (here, there) in left.iter().zip(&right) {
            assert_eq!(here, there, "{english} and {chinese} have other code");
        }
        assert_eq!(left.len(), right.len(), "{english} and {chinese} have other blocks of code");
    }
}

/// Language and text of the blocks, without comments and blank lines.
fn blocks(blocks: &[Block]) -> Vec<(String, String)> {
    let plain = |block: &Block| {
        let lines = block.text.lines().map(|line| {
            let end = if line.starts_with('#') { Some(0) } else { line.find(" #") };
            line[..end.unwrap_or(line.len())].trim_end()
        });
        lines.filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect::<String>()
    };
    blocks.iter().map(|block| (block.language.clone(), plain(block))).collect()
}
