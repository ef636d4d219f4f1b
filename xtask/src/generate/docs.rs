//! Pages, and parts of pages, that follow from the code: a reference page for each kind, the reasons of conditions, the
//! vendors' error codes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{Files, Operator, between, documents};
use crate::error::{Doing, Error, Result};
use crate::samples::manifests;
use crate::workspace;

/// Where the reference pages are.
pub(super) const REFERENCE: &str = "docs/reference";

/// What the operator prints for the documentation.
#[derive(Deserialize)]
struct Facts {
    kinds: Vec<Kind>,
    reasons: Vec<Reason>,
    errors: Vec<Service>,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
    vendor: String,
    api: String,
    version: String,
    action: String,
}

#[derive(Deserialize)]
struct Reason {
    name: String,
    of: String,
    acts: String,
    means: String,
    advice: String,
}

#[derive(Deserialize)]
struct Service {
    service: String,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    code: String,
    part: String,
    reason: String,
    response: String,
    hint: String,
}

/// The language of a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    English,
    Chinese,
}

use Language::{Chinese, English};

impl Language {
    /// The half of a text that holds both languages, with ` / ` in between.
    fn of(self, text: &str) -> &str {
        match (text.split_once(" / "), self) {
            (Some((english, _)), English) => english,
            (Some((_, chinese)), Chinese) => chinese,
            (None, _) => text,
        }
    }

    /// One of two words.
    fn or<'a>(self, english: &'a str, chinese: &'a str) -> &'a str {
        if self == English { english } else { chinese }
    }
}

/// Every page and part.
pub(super) fn pages(operator: &Operator) -> Result<Files> {
    let facts: Facts =
        serde_json::from_str(&operator.print("docs")?).doing(|| "read what the documentation is made of")?;
    let crds = operator.print("definitions")?;
    let crds: Vec<Value> = documents(&crds)
        .map(|document| serde_saphyr::from_str(document).doing(|| "read a CRD"))
        .collect::<Result<_>>()?;
    let samples = samples()?;
    let mut files = Files::new();
    let mut links = String::new();
    for crd in &crds {
        let kind = text(crd, "/spec/names/kind");
        let file = format!("{}.md", text(crd, "/spec/names/singular"));
        links += &format!("  - [{kind}](reference/{file})\n");
        let call = facts.kinds.iter().find(|known| known.kind == kind);
        files.insert(Path::new(REFERENCE).join(file), reference(crd, call, samples.get(kind)));
    }
    let summary = read("docs/SUMMARY.md")?;
    let summary = with_part("docs/SUMMARY.md", &summary, "reference", &links)?;
    let summary = with_part("docs/SUMMARY.md", &summary, "decisions", &decisions()?)?;
    files.insert("docs/SUMMARY.md".into(), summary);
    for (language, folder) in [(English, "docs"), (Chinese, "docs/zh")] {
        files.extend([
            part(&format!("{folder}/troubleshooting.md"), "reasons", &reasons(&facts.reasons, language))?,
            part(&format!("{folder}/errors.md"), "errors", &errors(&facts.errors, language))?,
        ]);
    }
    Ok(files)
}

/// A hand-written file whose part between two marker lines is generated.
pub(super) fn part(file: &str, name: &str, inner: &str) -> Result<(PathBuf, String)> {
    Ok((file.into(), with_part(file, &read(file)?, name, inner)?))
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(workspace::root().join(file)).doing(|| format!("read {file}"))
}

fn with_part(file: &str, old: &str, name: &str, inner: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    between(old, (&begin, &end), inner)
        .ok_or_else(|| Error::Failed(format!("{file} has no lines {begin} and {end}")))
}

/// The lines of the summary for the decisions, by their files' titles.
fn decisions() -> Result<String> {
    let folder = workspace::root().join("docs/adr");
    let mut lines = vec![];
    for entry in fs::read_dir(&folder).doing(|| "list docs/adr")? {
        let name = entry.doing(|| "list docs/adr")?.file_name().to_string_lossy().into_owned();
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            let text = read(&format!("docs/adr/{name}"))?;
            let title = text.lines().next().unwrap_or_default().trim_start_matches("# ");
            lines.push((name.clone(), format!("  - [{title}](adr/{name})\n")));
        }
    }
    lines.sort();
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// The first sample of each kind: kind → its YAML document.
fn samples() -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for file in manifests()? {
        let stream = fs::read_to_string(&file).doing(|| format!("read {}", file.display()))?;
        for document in documents(&stream) {
            let kind = document.lines().find_map(|line| line.strip_prefix("kind: "));
            if let Some(kind) = kind {
                found.entry(kind.trim().to_owned()).or_insert_with(|| without_head(document).to_owned());
            }
        }
    }
    Ok(found)
}

/// A YAML document from its `apiVersion` on: comments at the head of a file are about the file.
fn without_head(document: &str) -> &str {
    document.find("apiVersion:").map_or(document, |start| &document[start..])
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The page of one kind.
fn reference(crd: &Value, call: Option<&Kind>, sample: Option<&String>) -> String {
    let kind = text(crd, "/spec/names/kind");
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap_or(&Value::Null);
    let mut page = format!(
        "# {kind}\n\n<!-- Written by `cargo xtask generate`; do not edit. -->\n\n{}\n\n",
        inline(text(schema, "/description"))
    );
    let names = crd.pointer("/spec/names").unwrap_or(&Value::Null);
    page += &format!(
        "- API: `{}/{}`, {}\n",
        text(crd, "/spec/group"),
        text(crd, "/spec/versions/0/name"),
        if text(crd, "/spec/scope") == "Cluster" { "for the whole cluster" } else { "in a namespace" }
    );
    let short: Vec<_> =
        strings(names.get("shortNames")).into_iter().map(|name| format!("`{name}`")).collect();
    page += &format!("- kubectl: `{}`, {}\n", text(names, "/plural"), short.join(", "));
    if let Some(Kind { vendor, api, version, action, .. }) = call {
        page += &format!("- The vendor's call: {vendor}, {api} `{action}` {version}\n");
    }
    if let Some(sample) = sample {
        page += &format!("\n## Example\n\n```yaml\n{}\n```\n", sample.trim_end());
    }
    for (title, path, skip) in [
        ("spec", "/properties/spec", Some("forProvider")),
        ("spec.forProvider", "/properties/spec/properties/forProvider", None),
        ("status", "/properties/status", None),
    ] {
        let Some(part) = schema.pointer(path) else { continue };
        let mut rows = String::new();
        fields(part, "", skip, &mut rows);
        if rows.is_empty() {
            continue;
        }
        page += &format!("\n## {title}\n\n");
        if title != "spec" {
            page += &format!("{}\n\n", inline(text(part, "/description")));
        }
        page += &format!("| field | type | what it is |\n|---|---|---|\n{rows}");
        let mut refusals = String::new();
        if title == "spec" {
            refusals += &rules_of(schema, "");
        }
        rules(part, "", skip, &mut refusals);
        if !refusals.is_empty() {
            page += &format!("\nRules, checked when it is applied:\n\n{refusals}");
        }
    }
    let columns = crd.pointer("/spec/versions/0/additionalPrinterColumns").and_then(Value::as_array);
    page += "\n## Columns of kubectl get\n\n| column | what it is |\n|---|---|\n";
    for column in columns.into_iter().flatten() {
        let name = text(column, "/name").to_uppercase();
        let wide = column.get("priority").and_then(Value::as_i64).is_some_and(|priority| priority > 0);
        let described = text(column, "/description");
        let shown = if described.is_empty() { text(column, "/jsonPath") } else { described };
        let wide = if wide { " (with `-o wide`)" } else { "" };
        page += &format!("| {name} | {}{wide} |\n", cell(shown));
    }
    page
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// A row for every field below `schema`.
fn fields(schema: &Value, path: &str, skip: Option<&str>, rows: &mut String) {
    let required = strings(schema.get("required"));
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if path.is_empty() && Some(name.as_str()) == skip {
            continue;
        }
        let path = join(path, name);
        let mut sort = sort(field);
        if required.contains(&name.as_str()) {
            sort += ", required";
        }
        if let Some(default) = field.get("default") {
            sort += &format!(", default `{default}`");
        }
        rows.push_str(&format!("| `{path}` | {} | {} |\n", cell(&sort), cell(text(field, "/description"))));
        below(field, &path, |inner, path| fields(inner, path, None, rows));
    }
}

/// The messages of all rules at and below `schema`.
fn rules(schema: &Value, path: &str, skip: Option<&str>, found: &mut String) {
    found.push_str(&rules_of(schema, path));
    for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if path.is_empty() && Some(name.as_str()) == skip {
            continue;
        }
        let path = join(path, name);
        rules(field, &path, None, found);
        if let Some(items) = field.get("items") {
            rules(items, &format!("{path}[]"), None, found);
        }
    }
}

fn rules_of(schema: &Value, path: &str) -> String {
    let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array);
    let at = if path.is_empty() { String::new() } else { format!("`{path}`: ") };
    rules.into_iter().flatten().map(|rule| format!("- {at}{}\n", inline(text(rule, "/message")))).collect()
}

fn below(field: &Value, path: &str, mut visit: impl FnMut(&Value, &str)) {
    visit(field, path);
    if let Some(items) = field.get("items") {
        visit(items, &format!("{path}[]"));
    }
    if let Some(values) = field.get("additionalProperties").filter(|values| values.is_object()) {
        visit(values, &format!("{path}.*"));
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

fn sort(field: &Value) -> String {
    let values = field.get("enum").and_then(Value::as_array);
    if let Some(values) = values {
        let values: Vec<_> =
            values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        return values.join(" or ");
    }
    match text(field, "/type") {
        "array" => format!("list of {}", sort(field.get("items").unwrap_or(&Value::Null))),
        "" => "any".into(),
        other => other.into(),
    }
}

/// The list of reasons, by name.
fn reasons(all: &[Reason], language: Language) -> String {
    let mut sorted: Vec<_> = all.iter().collect();
    sorted.sort_by_key(|reason| &reason.name);
    let mut list = String::new();
    for Reason { name, of, acts, means, advice } in sorted {
        let of = match of.as_str() {
            "Images" => language.or("images", "镜像"),
            "Accounts" => language.or("accounts", "账户"),
            "Events" => language.or("Events of images", "镜像的事件"),
            _ => language.or("accounts and their images", "账户及使用它的镜像"),
        };
        let acts = match acts.as_str() {
            "Person" => language.or("a person has to act", "需要人工处理"),
            _ => language.or("nobody has to act", "无需人工处理"),
        };
        list += &format!(
            "### {name}\n\n{}{}{} {}{}\n\n{} {}{}\n\n",
            language.or("On ", "出现在："),
            of,
            language.or(";", "；"),
            acts,
            language.or(".", "。"),
            ended(&inline(language.of(means)), language),
            language.or("**Do:** ", "**处理：**"),
            ended(&inline(language.of(advice)), language),
        );
    }
    list
}

fn ended(text: &str, language: Language) -> String {
    format!("{text}{}", language.or(".", "。"))
}

/// A table of error codes for each service.
fn errors(all: &[Service], language: Language) -> String {
    let mut page = String::new();
    for Service { service, rows } in all {
        page += &format!(
            "## {service}\n\n{}\n|---|---|---|---|\n",
            language.or(
                "| code | reason | what the operator does | what to do |",
                "| 错误码 | 原因（reason） | Operator 的处理 | 建议 |"
            )
        );
        for Row { code, part, reason, response, hint } in rows {
            let code = match (code.is_empty(), part.is_empty()) {
                (_, true) => format!("`{code}`"),
                (true, false) => format!("“{part}”"),
                (false, false) => format!("`{code}`{}“{part}”", language.or(" with ", "，消息含")),
            };
            page += &format!(
                "| {} | [{reason}](troubleshooting.md#{}) | {} | {} |\n",
                cell(&code),
                reason.to_lowercase(),
                cell(language.of(response)),
                cell(language.of(hint)),
            );
        }
        page += "\n";
    }
    page
}

/// Text for a table's cell: on one line, with nothing in it that would end the cell.
fn cell(text: &str) -> String {
    inline(text).replace('|', "\\|")
}

/// Text for a paragraph: on one line, and what looks like a tag is text.
fn inline(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let parts = line.split('`').enumerate();
    parts
        .map(|(number, part)| if number % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() })
        .collect::<Vec<_>>()
        .join("`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_has_a_row_with_its_path_and_type() {
        let schema = json!({ "required": ["name"], "properties": {
            "name": { "type": "string", "description": "Two\nlines | and <tags>, `<but>` not in code." },
            "tag": { "type": "array", "items": { "type": "object", "properties": {
                "key": { "enum": ["A", "B"], "default": "A" } } } },
            "left": { "type": "string" },
        } });
        let mut rows = String::new();
        fields(&schema, "", Some("left"), &mut rows);
        assert_eq!(
            rows,
            "| `name` | string, required | Two lines \\| and &lt;tags>, `<but>` not in code. |\n\
             | `tag` | list of object |  |\n\
             | `tag[].key` | `A` or `B`, default `\"A\"` |  |\n"
        );
    }

    #[test]
    fn a_page_speaks_one_language() {
        let row = |code: &str, part: &str| Row {
            code: code.into(),
            part: part.into(),
            reason: "VendorBusy".into(),
            response: "waits / 等待".into(),
            hint: "Nothing / 无".into(),
        };
        let all = [Service { service: "Cloud".into(), rows: vec![row("A*", ""), row("B", "why")] }];
        let english = errors(&all, English);
        assert!(english.is_ascii() || english.contains("“why”"), "{english}");
        assert!(
            english.contains("| `A*` | [VendorBusy](troubleshooting.md#vendorbusy) | waits | Nothing |"),
            "{english}"
        );
        let chinese = errors(&all, Chinese);
        assert!(
            chinese
                .contains("| `B`，消息含“why” | [VendorBusy](troubleshooting.md#vendorbusy) | 等待 | 无 |"),
            "{chinese}"
        );
    }
}
