//! `import`: manifests for what an account has and nobody manages. Applied, they change nothing there.

use super::{
    Answer, Error,
    account::Calling,
    objects::Place,
    output::{self, Columns},
    progress::Progress,
    rules::Rules,
    unmanaged::{Asked, Managed, Named, Whose},
};
use crate::{
    engine::{
        existing::{Existing, Mark},
        progress::Observation,
    },
    image::AccountKind,
    kinds::Kind,
};
use futures::StreamExt;
use regex::Regex;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What `import` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    named: Named,
    /// Only this kind, by any name that kubectl takes; may be given several times. Example: `imagecomponents`
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Only what has this: `id`, `name` or a parameter, and its value, in which `*` stands for anything. May be given several
    /// times, then all of them must hold. Example: `name=base-*`
    #[arg(long = "filter", value_name = "FIELD=VALUE", value_parser = filter)]
    filters: Vec<Filter>,
    /// Where to look, if not where the account is: a region for the kinds of Alibaba Cloud ECS, a product id for an AospImage;
    /// other kinds have no other place.
    #[arg(long, value_name = "PLACE")]
    place: Option<String>,
    /// What cannot be used now as well: failed, disabled, or in a state that nobody knows.
    #[arg(long)]
    all: bool,
    /// What bears the operator's mark as well, of an object that is not in this cluster: another cluster may manage it. See
    /// `orphans`.
    #[arg(long)]
    include_marked: bool,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    calling: Calling,
    #[command(flatten)]
    target: Place,
}

/// How the manifests look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Manifests to keep, with notes.
    #[default]
    Yaml,
    /// One List of all manifests, for programs.
    Json,
    /// What would be imported, for people.
    Table,
}

/// A condition on what is imported.
#[derive(Clone, Debug)]
struct Filter {
    field: String,
    value: Regex,
}

fn filter(text: &str) -> Result<Filter, String> {
    let (field, value) = text.split_once('=').ok_or("write it like name=base-*")?;
    let pattern = format!("(?s)^{}$", regex::escape(value).replace(r"\*", ".*"));
    Ok(Filter { field: field.into(), value: Regex::new(&pattern).map_err(|error| error.to_string())? })
}

impl Filter {
    fn fits(&self, existing: &Existing) -> bool {
        let is = |text: &str| self.value.is_match(text);
        match (&*self.field, existing.parameters.get(&self.field)) {
            ("id", _) => is(&existing.id),
            (_, Some(Value::String(text))) => is(text),
            (_, Some(other)) => is(&other.to_string()),
            ("name", None) => is(&existing.name),
            (_, None) => is(""),
        }
    }
}

/// A filter by what nothing has lets nothing through, which looks as if there were nothing.
fn known(filters: &[Filter], kinds: &[&dyn Kind]) -> Result<(), Error> {
    let mut fields: BTreeSet<String> = ["id".to_owned(), "name".to_owned()].into();
    for kind in kinds {
        let schema = serde_json::to_value(kind.crd()).unwrap_or_default();
        let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let parameters = schema["properties"]["forProvider"]["properties"].as_object();
        fields.extend(parameters.into_iter().flatten().map(|(name, _)| name.clone()));
    }
    let unknown = filters.iter().find(|filter| !kinds.is_empty() && !fields.contains(&filter.field));
    let Some(Filter { field, .. }) = unknown else { return Ok(()) };
    let fields: Vec<_> = fields.into_iter().collect();
    Err(Error::Usage(format!("--filter: nothing has a field {field:?}; there are {}", fields.join(", "))))
}

/// How much was seen of a kind, and why some of it was left out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    seen: usize,
    printed: usize,
    managed: usize,
    marked: usize,
    unusable: usize,
}

/// Prints the manifests.
pub async fn run(options: Options) -> Result<Answer, Error> {
    let asked = Asked::new(&options.named, &options.target, &options.calling).await?;
    let done = import(&options, &asked).await;
    asked.close().await;
    done.map(|()| Answer::Yes)
}

async fn import(options: &Options, asked: &Asked) -> Result<(), Error> {
    let kinds = asked.kinds(&options.kinds, options.place.as_deref())?;
    known(&options.filters, &kinds)?;
    let mut sheet = Sheet::new(options.output);
    sheet.begin()?;
    match import_kinds(options, asked, &kinds, &mut sheet).await {
        // Nobody reads any more.
        Err(error @ Error::Output(_)) => Err(error),
        // What was printed can be read, whatever became of the rest.
        done => sheet.end().and(done),
    }
}

async fn import_kinds(
    options: &Options,
    asked: &Asked,
    kinds: &[&dyn Kind],
    sheet: &mut Sheet,
) -> Result<(), Error> {
    let mut troubles = vec![];
    for kind in kinds {
        let name = kind.crd().spec.names.kind;
        match import_kind(options, asked, *kind, sheet).await {
            Ok(count) => output::note(&told(&name, &count, options)),
            // One API that does not answer keeps nobody from the others.
            Err(Error::Account(account, why)) => {
                troubles.push(Error::Account(account, format!("{name}: {why}")));
            }
            Err(error) => return Err(error),
        }
    }
    let mut troubles = troubles.into_iter();
    let Some(first) = troubles.next() else { return Ok(()) };
    for other in troubles {
        output::note(&format!("error: {other}"));
    }
    Err(first)
}

async fn import_kind(
    options: &Options,
    asked: &Asked,
    kind: &dyn Kind,
    sheet: &mut Sheet,
) -> Result<Count, Error> {
    let place = options.place.as_deref();
    let trouble = |trouble: crate::kinds::survey::Trouble| {
        Error::Account(asked.account.key.to_string(), trouble.to_string())
    };
    let realm = kind.realm(&asked.account.vendor, place).map_err(trouble)?;
    let managed = Managed::read(asked.cluster.as_ref(), kind).await?;
    let writer = Writer::new(kind, options, asked);
    let mut count = Count::default();
    let progress = Progress::new(&writer.kind, options.output != Format::Json);
    let mut pages = kind.existing(&asked.account.connection, place);
    while let Some(page) = pages.next().await {
        let page = page.map_err(trouble)?;
        let mut chosen = vec![];
        for existing in page.things {
            count.seen += 1;
            match managed.whose(&existing, &realm) {
                Whose::Managed => count.managed += 1,
                _ if !options.filters.iter().all(|filter| filter.fits(&existing)) => {}
                Whose::Left(_) if !options.include_marked => count.marked += 1,
                _ if !options.all && !can_be_used(&existing.observation) => count.unusable += 1,
                _ => chosen.push(existing),
            }
        }
        count.printed += chosen.len();
        progress.beside(|| sheet.print(&writer, &chosen))?;
        progress.at(page.read, page.total);
    }
    Ok(count)
}

/// What is being made will be.
fn can_be_used(observation: &Observation) -> bool {
    matches!(observation, Observation::Ready(_) | Observation::Building { .. })
}

fn told(kind: &str, count: &Count, options: &Options) -> String {
    let mut text =
        format!("{kind}: {} to import, {} seen, {} managed", count.printed, count.seen, count.managed);
    if count.unusable > 0 {
        text += &format!(", {} left out that cannot be used now (--all)", count.unusable);
    }
    if count.marked > 0 && !options.include_marked {
        text += &format!(
            ", {} left out that bear the operator's mark (--include-marked, and see orphans)",
            count.marked
        );
    }
    text
}

/// What is printed, page by page, so that no more than a page is held.
struct Sheet {
    format: Format,
    columns: Columns<'static>,
    /// How many things it has.
    length: usize,
}

impl Sheet {
    fn new(format: Format) -> Self {
        let columns = Columns::new(&["KIND", "NAME AT THE VENDOR", "ID", "OBJECT"]);
        Self { format, columns, length: 0 }
    }

    fn begin(&self) -> Result<(), Error> {
        output::print(self.head())
    }

    fn end(&self) -> Result<(), Error> {
        output::print(self.tail())
    }

    /// As kubectl prints several objects: one List, which other programs can read whole, and kubectl can apply.
    fn head(&self) -> &'static str {
        match self.format {
            Format::Json => {
                "{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"List\",\n  \"metadata\": {},\n  \"items\": [\n"
            }
            Format::Yaml | Format::Table => "",
        }
    }

    fn tail(&self) -> &'static str {
        match self.format {
            Format::Json if self.length == 0 => "  ]\n}\n",
            Format::Json => "\n  ]\n}\n",
            Format::Yaml | Format::Table => "",
        }
    }

    fn print(&mut self, writer: &Writer<'_>, chosen: &[Existing]) -> Result<(), Error> {
        let text = self.text(writer, chosen)?;
        output::print(&text)
    }

    fn text(&mut self, writer: &Writer<'_>, chosen: &[Existing]) -> Result<String, Error> {
        if chosen.is_empty() {
            return Ok(String::new());
        }
        let mut text = String::new();
        if self.format == Format::Table {
            let cells = |it: &Existing| {
                vec![writer.kind.clone(), it.name.clone(), it.id.clone(), object_name(&it.name, &it.id)]
            };
            for line in self.columns.more(chosen.iter().map(cells)) {
                text += &(line + "\n");
            }
        }
        for existing in chosen.iter().filter(|_| self.format != Format::Table) {
            let (manifest, dropped) = writer.manifest(existing);
            let dropped = dropped.iter().map(|(field, why)| {
                format!("Left out, since it could not be asked for: {field} ({}).", one_line(why))
            });
            if self.format == Format::Json {
                // A comment would be no JSON.
                let (kind, name) = (&manifest.kind, &manifest.metadata["name"]);
                dropped.for_each(|note| {
                    output::note(&format!("{kind}/{}: {note}", name.as_str().unwrap_or_default()));
                });
                text += if self.length == 0 { "" } else { ",\n" };
                let json = serde_json::to_string_pretty(&manifest)?;
                text += &format!("    {}", json.replace('\n', "\n    "));
            } else {
                text += "---\n";
                if !writer.untold.is_empty() {
                    text += &format!("# The vendor does not tell: {}.\n", writer.untold.join(", "));
                }
                dropped.for_each(|note| text += &format!("# {note}\n"));
                text += &serde_saphyr::to_string(&manifest)?;
            }
            self.length += 1;
        }
        Ok(text)
    }
}

/// Makes manifests of one kind.
struct Writer<'a> {
    kind: String,
    api_version: String,
    account: Value,
    namespace: Option<&'a str>,
    place: Option<(&'static str, &'a str)>,
    untold: &'static [&'static str],
    rules: Rules,
}

/// An object, as it is to be applied.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    api_version: String,
    kind: String,
    metadata: Value,
    spec: Value,
}

impl<'a> Writer<'a> {
    fn new(kind: &dyn Kind, options: &'a Options, asked: &'a Asked) -> Self {
        let crd = kind.crd();
        let reference = options.named.reference();
        let account = match reference.kind {
            AccountKind::CloudAccount => json!({ "name": reference.name }),
            AccountKind::ClusterCloudAccount => json!({ "kind": reference.kind, "name": reference.name }),
        };
        let version = crd.spec.versions.first().map(|version| version.name.as_str()).unwrap_or_default();
        Self {
            kind: crd.spec.names.kind.clone(),
            api_version: format!("{}/{version}", crd.spec.group),
            account,
            namespace: asked.namespace.as_deref(),
            place: kind.place().zip(options.place.as_deref()),
            untold: kind.untold(),
            rules: Rules::of(&crd),
        }
    }

    /// The manifest, and the parameters that it cannot have as the vendor has them: which, and why.
    fn manifest(&self, existing: &Existing) -> (Manifest, Vec<(String, String)>) {
        let mut parameters = existing.parameters.clone();
        if let Some((parameter, place)) = self.place {
            parameters.insert(parameter.into(), place.into());
        }
        let mut dropped = vec![];
        // Each turn takes at least one away.
        while let Some((field, why)) = self.refused(existing, &parameters) {
            parameters.remove(&field);
            dropped.push((field, why));
        }
        let manifest = self.with(existing, &parameters);
        (manifest, dropped)
    }

    fn refused(&self, existing: &Existing, parameters: &Map<String, Value>) -> Option<(String, String)> {
        let manifest = self.with(existing, parameters);
        let object = serde_json::to_value(&manifest).ok()?;
        let refusals = self.rules.check(&self.rules.defaulted(&object), None);
        refusals.into_iter().find_map(|refusal| {
            let below = refusal.field.strip_prefix("spec.forProvider.")?;
            let field = below.split(['.', '[']).next().unwrap_or_default();
            parameters.contains_key(field).then(|| (field.to_owned(), refusal.sentence))
        })
    }

    fn with(&self, existing: &Existing, parameters: &Map<String, Value>) -> Manifest {
        let mut metadata = json!({ "name": object_name(&existing.name, &existing.id) });
        if let Some(namespace) = self.namespace {
            metadata["namespace"] = namespace.into();
        }
        let mut import = json!({ "id": existing.id });
        if let Some(Mark::Of(uid)) = &existing.mark {
            import["madeFor"] = json!(uid);
        }
        Manifest {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            metadata,
            spec: json!({
                "accountRef": self.account,
                "managementPolicy": "Observe",
                "deletionPolicy": "Retain",
                "import": import,
                "forProvider": parameters,
            }),
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A valid name for an object, which depends on nothing but the thing, so that it is the same each time, and which no other
/// thing has.
fn object_name(name: &str, id: &str) -> String {
    let plain =
        name.chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '-' });
    let plain: String = plain.collect();
    let parts: Vec<_> = plain.split('-').filter(|part| !part.is_empty()).collect();
    let digest = Sha256::digest(id.as_bytes());
    let suffix: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    let readable: String = parts.join("-").chars().take(52).collect();
    match readable.trim_end_matches('-') {
        "" => format!("image-{suffix}"),
        readable => format!("{readable}-{suffix}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;

    fn writer(kind: &str) -> Writer<'static> {
        let kind = KINDS.iter().find(|it| it.crd().spec.names.kind == kind).unwrap();
        Writer {
            kind: kind.crd().spec.names.kind,
            api_version: "cloudimages.dev/v1alpha1".into(),
            account: json!({ "name": "a" }),
            namespace: Some("team"),
            place: None,
            untold: kind.untold(),
            rules: Rules::of(&kind.crd()),
        }
    }

    #[test]
    fn names_are_valid_and_each_thing_s_own() {
        let long = "x".repeat(300);
        let valid = Regex::new("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$").unwrap();
        for (name, id) in [
            ("testComponent 1.0.0", "ic-1"),
            ("夜间构建", "img-1"),
            ("", ""),
            ("--a..b__", "i"),
            (&*long, "i"),
            ("ENDS-AT-THE-CUT-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-b", "i"),
        ] {
            let object = object_name(name, id);
            assert!(valid.is_match(&object) && object.len() <= 63, "{object}");
            assert_eq!(object, object_name(name, id));
            assert_ne!(object, object_name(name, &format!("{id}x")));
        }
        assert!(object_name("testComponent 1.0.0", "ic-1").starts_with("testcomponent-1-0-0-"));
    }

    #[test]
    fn what_could_not_be_asked_for_is_left_out_and_told() {
        let existing = Existing::new("ic-1", Observation::Missing)
            .named("a")
            .with("name", "a")
            .with("description", "d")
            .with("systemType", "Plan9")
            .with("content", "RUN true")
            .with("tag", json!([{ "key": "team", "value": "base" }, { "key": "x", "value": "http://x" }]))
            .with("componentVersion", "1.0.0");
        let (manifest, dropped) = writer("ImageComponent").manifest(&existing);
        let mut fields: Vec<_> = dropped.iter().map(|(field, _)| field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(fields, ["description", "name", "systemType", "tag"], "{dropped:?}");
        assert_eq!(
            manifest.spec["forProvider"],
            json!({ "content": "RUN true", "componentVersion": "1.0.0" })
        );
    }

    #[test]
    fn json_is_one_list_however_many_pages_it_comes_in() {
        let writer = writer("ImageComponent");
        let thing = |id: &str| {
            Existing::new(id, Observation::Missing)
                .with("componentVersion", "1.0.0")
                .with("content", "RUN a\nRUN b")
        };
        for pages in [&[][..], &[&["a"][..]], &[&["a", "b"], &[], &["c"]]] {
            let mut sheet = Sheet::new(Format::Json);
            let mut text = sheet.head().to_owned();
            for page in pages {
                let things: Vec<_> = page.iter().map(|id| thing(id)).collect();
                text += &sheet.text(&writer, &things).unwrap();
            }
            text += sheet.tail();
            let list: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("v1"), &json!("List")), "{text}");
            let items = list["items"].as_array().unwrap();
            let ids: Vec<_> = items.iter().map(|it| it["spec"]["import"]["id"].as_str().unwrap()).collect();
            assert_eq!(ids, pages.concat(), "{text}");
            assert!(items.iter().all(|it| it["spec"]["forProvider"]["content"] == "RUN a\nRUN b"), "{text}");
            assert!(
                text.ends_with("}\n") && (pages.len() != 3 || text.lines().nth(5) == Some("    {")),
                "{text}"
            );
        }
    }

    #[test]
    fn a_filter_holds_for_all_of_a_text() {
        let fits = |text: &str, existing: &Existing| filter(text).unwrap().fits(existing);
        let existing =
            Existing::new("i-1", Observation::Missing).named("Base 1.0").with("description", "a\nb");
        for yes in ["id=i-1", "name=Base*", "description=a*b", "name=*", "tag="] {
            assert!(fits(yes, &existing), "{yes}");
        }
        for no in ["id=i", "name=base*", "description=b", "name=Base.1.0", "tag=x"] {
            assert!(!fits(no, &existing), "{no}");
        }
        assert!(filter("name").is_err());
        let known = |text: &str| known(&[filter(text).unwrap()], KINDS).map_err(|error| error.to_string());
        assert_eq!(known("componentVersion=1.*"), Ok(()));
        assert!(known("nmae=base").is_err_and(|error| error.contains("nmae") && error.contains("name, ")));
        let marked = Existing { mark: Some(Mark::Of("u".into())), ..existing };
        assert!(fits("id=*", &marked));
    }
}
