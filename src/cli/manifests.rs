//! Objects as they stand in files: YAML or JSON, one or many, in a folder, on standard input or put together by kustomize.

use super::Error;
use serde_json::Value;
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
};

/// Reads a file, the files of a folder, or standard input for `-`. That nothing is there is a mistake: of a command before a
/// pipe that failed, or of the path.
pub fn read(path: &Path) -> Result<Vec<Value>, Error> {
    let objects = read_all(path)?;
    if objects.is_empty() {
        let what = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        return Err(Error::Manifest(format!("{what} has no objects; is it what was meant?")));
    }
    Ok(objects)
}

fn read_all(path: &Path) -> Result<Vec<Value>, Error> {
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
        return Err(Error::Manifest(format!(
            "{} has no file .yaml, .yml or .json; folders below it are not read",
            path.display()
        )));
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

const KUSTOMIZE: &str = "it is a kustomization: give the folder to -k";

/// All objects of a text; those of a List one by one.
fn parse(what: &str, text: &str) -> Result<Vec<Value>, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Manifest(format!("{what} is no manifest: {error}"));
    // Some editors begin a text with it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let is_json = text.trim_start().starts_with('{') && !text.lines().any(|line| line.trim_end() == "---");
    let documents = if is_json {
        serde_json::Deserializer::from_str(text)
            .into_iter::<Value>()
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(&error))?
    } else {
        let read = documents(text).into_iter().map(|(line, document)| {
            serde_saphyr::from_str::<Value>(&document)
                .map_err(|error| wrong(&format!("the document that begins in line {line}: {error}")))
        });
        read.collect::<Result<Vec<_>, _>>()?
    };
    let mut objects = vec![];
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        match (&document["kind"], &document["items"]) {
            (Value::String(kind), Value::Array(items)) if kind.ends_with("List") => {
                objects.extend(items.iter().cloned());
            }
            (Value::String(kind), _) if kind == "Kustomization" => return Err(wrong(&KUSTOMIZE)),
            (Value::String(_), _) => objects.push(document),
            _ if document["resources"].is_array() => return Err(wrong(&KUSTOMIZE)),
            _ => return Err(wrong(&"an object has no kind")),
        }
    }
    Ok(objects)
}

/// The documents of a YAML stream, and in which line each begins: nothing else may begin a line like that, not even within a
/// text.
fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (line, number) in text.lines().zip(1..) {
        if line == "---" || line.starts_with("--- ") || line.starts_with("---\t") {
            documents.push((number + 1, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            *document += line;
            *document += "\n";
        }
    }
    let says_something = |(_, document): &(usize, String)| {
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
        assert_eq!(names(&format!("\u{feff}{}", one("a"))).as_deref(), Ok("a"));
        let broken = names(&format!("{}---\nkind: [\n", one("a"))).unwrap_err();
        assert!(broken.contains("the document that begins in line 6"), "{broken}");
        for kustomization in ["resources: [a.yaml]", "kind: Kustomization\nresources: [a.yaml]"] {
            assert!(names(kustomization).is_err_and(|error| error.contains("-k")), "{kustomization}");
        }
        for wrong in ["name: a", "kind: [", "{\"kind\":", "- kind: A"] {
            assert!(names(wrong).is_err_and(|error| error.starts_with("it is no manifest: ")), "{wrong}");
        }
    }
}
