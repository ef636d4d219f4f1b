//! Every link leads somewhere, and every page can be reached.

use super::page::{page, pages, root};
use std::{collections::BTreeSet, path::PathBuf};

#[test]
fn links_within_the_project_lead_to_a_file_and_a_heading() {
    let mut broken = vec![];
    for from in pages() {
        for link in &from.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = match file {
                "" => from.path.clone(),
                file => plain(from.path.parent().expect("a folder").join(file)),
            };
            let there = root().join(&to).exists();
            let heading = anchor.is_empty()
                || there
                    && to.extension().is_some_and(|end| end == "md")
                    && page(&to).headings.iter().any(|heading| heading.anchor == anchor);
            if !there || !heading {
                broken.push(format!("{}: {link}", from.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn files_that_pages_name_are_there() {
    let folders =
        ["charts", "crds", "deploy", "docs", "samples", "simulator", "src", "tests", "tools", "xtask"];
    let mut missing = vec![];
    for page in pages() {
        for code in &page.codes {
            let a_path = code.chars().all(|char| char.is_ascii_alphanumeric() || "/-_.".contains(char));
            let ours = code.split_once('/').is_some_and(|(folder, _)| folders.contains(&folder));
            // A module may be named without its ending. What changed may be gone.
            let there = root().join(code).exists() || root().join(format!("{code}.rs")).exists();
            if a_path && ours && !there && !page.path.ends_with("CHANGELOG.md") {
                missing.push(format!("{}: {code}", page.path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

/// Pages of the book do not link to pages outside of it by a relative path: those are not on the site.
#[test]
fn the_summary_has_every_page_of_the_book_and_the_book_links_only_to_its_own_pages() {
    let summary = page("docs/SUMMARY.md");
    let listed: BTreeSet<_> = summary.links.iter().map(|link| PathBuf::from("docs").join(link)).collect();
    for page in pages() {
        let in_the_book = page.path.starts_with("docs");
        if !in_the_book || page.path.ends_with("SUMMARY.md") {
            continue;
        }
        assert!(listed.contains(&page.path), "docs/SUMMARY.md does not list {}", page.path.display());
        for link in page.links.iter().filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let to =
                plain(page.path.parent().expect("a folder").join(link.split('#').next().expect("a path")));
            assert!(
                to.starts_with("docs"),
                "{} links to {link}, which is not in the book: name the file without a link",
                page.path.display()
            );
        }
    }
}

/// Without `.` and `..`.
fn plain(path: PathBuf) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                plain.pop();
            }
            std::path::Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}
