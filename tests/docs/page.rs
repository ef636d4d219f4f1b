//! The pages as a reader of Markdown sees them.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

/// One page.
pub struct Page {
    /// From the workspace's root.
    pub path: PathBuf,
    /// Its headings, in their order.
    pub headings: Vec<Heading>,
    /// Where its links and pictures lead.
    pub links: Vec<String>,
    /// What stands in it as code within a line.
    pub codes: Vec<String>,
    /// Its code blocks.
    pub blocks: Vec<Block>,
}

/// A heading.
pub struct Heading {
    /// 1 for the page's title.
    pub level: HeadingLevel,
    /// Its text without markup.
    pub text: String,
    /// What a link to it has after `#`.
    pub anchor: String,
}

/// A fenced block of code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What stands behind the fence: the language.
    pub language: String,
    /// What is in it.
    pub text: String,
    /// The heading that it stands under.
    pub under: String,
}

/// The workspace's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page: those in the root and all below `docs`.
pub fn pages() -> Vec<Page> {
    let mut files = vec![];
    for entry in fs::read_dir(root()).expect("the root") {
        files.push(entry.expect("an entry").path());
    }
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.retain(|file| file.extension().is_some_and(|end| end == "md"));
    files.sort();
    files.iter().map(|file| page(file.strip_prefix(root()).expect("within the root"))).collect()
}

/// One page, by its path from the root.
pub fn page(path: impl AsRef<Path>) -> Page {
    let path = path.as_ref().to_owned();
    let text =
        fs::read_to_string(root().join(&path)).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let mut page = Page { path, headings: vec![], links: vec![], codes: vec![], blocks: vec![] };
    let mut heading: Option<(HeadingLevel, String)> = None;
    let mut block: Option<Block> = None;
    let mut anchors: HashMap<String, usize> = HashMap::new();
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => heading = Some((level, String::new())),
            Event::End(TagEnd::Heading(_)) => {
                let (level, text) = heading.take().expect("a heading that began");
                let plain = anchor(&text);
                let seen = anchors.entry(plain.clone()).and_modify(|seen| *seen += 1).or_default();
                let anchor = if *seen == 0 { plain } else { format!("{plain}-{seen}") };
                page.headings.push(Heading { level, text, anchor });
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                page.links.push(dest_url.to_string());
            }
            Event::Start(Tag::CodeBlock(kind)) => {
                let language = match kind {
                    CodeBlockKind::Fenced(language) => language.to_string(),
                    CodeBlockKind::Indented => String::new(),
                };
                let under = page.headings.last().map(|heading| heading.text.clone()).unwrap_or_default();
                block = Some(Block { language, text: String::new(), under });
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Text(ref text) | Event::Code(ref text) => {
                if matches!(event, Event::Code(_)) {
                    page.codes.push(text.to_string());
                }
                if let Some((_, heading)) = &mut heading {
                    heading.push_str(text);
                }
                if let Some(block) = &mut block {
                    block.text.push_str(text);
                }
            }
            _ => {}
        }
    }
    page
}

/// As GitHub and mdBook make it of a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .chars()
        .filter_map(|char| match char {
            ' ' => Some('-'),
            '-' | '_' => Some(char),
            char => char.is_alphanumeric().then(|| char.to_lowercase().next().unwrap_or(char)),
        })
        .collect()
}
