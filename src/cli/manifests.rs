//! Objects as they stand in files: YAML or JSON, one or many, in a folder, on standard input or put together by kustomize.

use super::Error;
use serde_json::Value;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

/// Reads a file, the files of a folder, or standard input for `-`.
pub fn read(path: &Path) -> Result<Vec<Value>, Error> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| unreadable("standard input", &error))?;
        return parse("standard input", &text);
    }
    if !path.is_dir() {
        return read_file(path);
    }
    let entries = fs::read_dir(path).map_err(|error| unreadable(path.display(), &error))?;
    let is_manifest = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        path.is_file() && matches!(extension, Some("yaml" | "yml" | "json"))
    };
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_manifest).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::Manifest(format!("{} has no file .yaml, .yml or .json", path.display())));
    }
    let objects = files.iter().map(|file| read_file(file)).collect::<Result<Vec<_>, _>>()?;
    Ok(objects.concat())
}

fn read_file(path: &Path) -> Result<Vec<Value>, Error> {
    let text = fs::read_to_string(path).map_err(|error| unreadable(path.display(), &error))?;
    parse(&path.display().to_string(), &text)
}

/// What kustomize makes of a folder.
pub fn kustomize(folder: &Path) -> Result<Vec<Value>, Error> {
    let what = format!("kustomize {}", folder.display());
    let run = |program: &str, arguments: &[&str]| Command::new(program).args(arguments).arg(folder).output();
    let output = run("kubectl", &["kustomize"]).or_else(|_| run("kustomize", &["build"]));
    let output = output.map_err(|_| {
        Error::Manifest(format!("{what}: neither kubectl nor kustomize is on the PATH; install one of them"))
    })?;
    if !output.status.success() {
        return Err(Error::Manifest(format!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    parse(&what, &String::from_utf8_lossy(&output.stdout))
}

fn unreadable(what: impl std::fmt::Display, error: &std::io::Error) -> Error {
    Error::Manifest(format!("{what} cannot be read: {error}"))
}

/// All objects of a text; those of a List one by one.
fn parse(what: &str, text: &str) -> Result<Vec<Value>, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Manifest(format!("{what} is no manifest: {error}"));
    let documents = if text.trim_start().starts_with('{') {
        serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(&error))?
    } else {
        let documents = documents(text);
        let read = documents.iter().map(|document| serde_saphyr::from_str::<Value>(document));
        read.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?
    };
    let mut objects = vec![];
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        match (&document["kind"], &document["items"]) {
            (Value::String(kind), Value::Array(items)) if kind.ends_with("List") => {
                objects.extend(items.iter().cloned());
            }
            (Value::String(_), _) => objects.push(document),
            _ => return Err(wrong(&"an object has no kind")),
        }
    }
    Ok(objects)
}

/// The documents of a YAML stream: nothing else may begin a line like that, not even within a text.
fn documents(text: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in text.lines() {
        if line == "---" || line.starts_with("--- ") || line.starts_with("---\t") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            *document += line;
            *document += "\n";
        }
    }
    let says_something = |document: &String| {
        document.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    };
    documents.retain(says_something);
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_however_they_are_put_together() {
        let names = |text: &str| {
            let objects = parse("it", text).map_err(|error| error.to_string())?;
            let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            Ok::<_, String>(objects.iter().map(name).collect::<Vec<_>>().concat())
        };
        let one = |name: &str| format!("kind: A\nmetadata: {{name: {name}}}\ntext: |\n  --- b\n");
        assert_eq!(
            names(&format!("# nothing\n---\n{}---\n{}---\n", one("a"), one("b"))).as_deref(),
            Ok("ab")
        );
        assert_eq!(
            names(r#"{"kind":"A","metadata":{"name":"a"}} {"kind":"A","metadata":{"name":"b"}}"#).as_deref(),
            Ok("ab")
        );
        let list = "kind: List\nitems: [{kind: A, metadata: {name: a}}, {kind: A, metadata: {name: b}}]";
        assert_eq!(names(list).as_deref(), Ok("ab"));
        assert_eq!(names("").as_deref(), Ok(""));
        for wrong in ["name: a", "kind: [", "{\"kind\":", "- kind: A"] {
            assert!(names(wrong).is_err_and(|error| error.starts_with("it is no manifest: ")), "{wrong}");
        }
    }
}
