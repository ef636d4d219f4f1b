//! Who may name whom: one crate for the operator, and the walls in it that separate crates would give.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Room, the words (in small letters) that must not stand in its code, and why.
const WALLS: &[(&str, &[&str], &str)] = &[
    ("src/engine", &["vendors::", "volcengine", "aliyun", "zstack"], "the engine knows no vendor"),
    ("src/vendors", &["kube::client", "kube::api", "api<"], "kinds do not talk to Kubernetes"),
    ("src/wire", &["kube", "k8s_openapi", "engine::", "vendors::", "account::"], "the wire knows HTTP alone"),
    ("simulator", &["cloud_image_operator", "cloud-image-operator"], "a misreading would pass on both sides"),
    ("xtask", &["cloud_image_operator", "cloud-image-operator ="], "xtask runs the operator as a user does"),
];

#[test]
fn rooms_keep_their_walls() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut breaches = vec![];
    for (room, forbidden, why) in WALLS {
        let files = files(&root.join(room));
        assert!(!files.is_empty(), "{room} is empty");
        for file in files {
            let text = fs::read_to_string(&file).expect("a text");
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default().to_lowercase();
                if let Some(word) = forbidden.iter().find(|word| code.contains(**word)) {
                    let file = file.strip_prefix(root).unwrap_or(&file).display();
                    breaches.push(format!("{file}:{}: names {word:?}, but {why}", number + 1));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// `room.rs`, and every source and manifest under `room/`.
fn files(room: &Path) -> Vec<PathBuf> {
    let mut found = vec![room.with_extension("rs")];
    let mut folders = vec![room.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.retain(|path| {
        path.is_file() && (path.extension().is_some_and(|end| end == "rs") || path.ends_with("Cargo.toml"))
    });
    found
}
