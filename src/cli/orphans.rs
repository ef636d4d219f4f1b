//! `orphans`: what the operator made, by its marks, and no object stands for.

use super::{
    Answer, Error,
    account::Calling,
    objects::Place,
    output::{self, Format, HEADING, columns, styled},
    progress::Progress,
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
use serde::Serialize;

/// What `orphans` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    named: Named,
    /// Only this kind, by any name that kubectl takes; may be given several times.
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// Where to look, if not where the account is: a region for the kinds of Alibaba Cloud ECS, a product id for an
    /// AospImage.
    #[arg(long, value_name = "PLACE")]
    place: Option<String>,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    calling: Calling,
    #[command(flatten)]
    target: Place,
}

/// Something that nobody stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Orphan {
    /// Of the object that it was made for.
    kind: String,
    /// The vendor's.
    id: String,
    /// The vendor's.
    name: String,
    /// How it is.
    state: &'static str,
    /// The uid of the object that it was made for, where the mark has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_for: Option<String>,
    /// What speaks for its being the operator's.
    mark: String,
    /// The command that prints a manifest for it.
    import: String,
}

impl Orphan {
    fn new(kind: &str, existing: Existing, mark: Mark, command: &str) -> Self {
        let Existing { id, name, observation, .. } = existing;
        let (made_for, mark) = match mark {
            Mark::Of(uid) => (Some(uid.clone()), format!("made for the object with uid {uid}")),
            Mark::Like(how) => (None, format!("perhaps the operator's: {how}")),
        };
        let state = match observation {
            Observation::Ready(_) => "Ready",
            Observation::Building { .. } => "Building",
            Observation::Unusable { .. } => "Unusable",
            Observation::Failed(_) | Observation::Refused(_) => "Failed",
            Observation::Missing => "Missing",
        };
        let import = format!("{command} --kind {kind} --include-marked --all --filter id={id}");
        Self { kind: kind.into(), id, name, state, made_for, mark, import }
    }
}

/// Prints them.
pub async fn run(options: Options) -> Result<Answer, Error> {
    let asked = Asked::new(&options.named, &options.target, &options.calling).await?;
    let found = find(&options, &asked).await;
    asked.close().await;
    let orphans = found?;
    options.output.print(&orphans, || table(&orphans, &asked.account.key.to_string()))?;
    Ok(if orphans.is_empty() { Answer::Yes } else { Answer::No })
}

async fn find(options: &Options, asked: &Asked) -> Result<Vec<Orphan>, Error> {
    let place = options.place.as_deref();
    let mut orphans = vec![];
    for kind in asked.kinds(&options.kinds, place)? {
        let name = kind.crd().spec.names.kind;
        if kind.is_marked() {
            orphans.extend(of_kind(options, asked, kind).await?);
        } else {
            output::note(&format!(
                "{name}: nothing at the vendor says who made it; import --kind {name} lists what nobody manages"
            ));
        }
    }
    Ok(orphans)
}

async fn of_kind(options: &Options, asked: &Asked, kind: &dyn Kind) -> Result<Vec<Orphan>, Error> {
    let place = options.place.as_deref();
    let trouble = |trouble: crate::kinds::survey::Trouble| {
        Error::Account(asked.account.key.to_string(), trouble.to_string())
    };
    let (realm, name) =
        (kind.realm(&asked.account.vendor, place).map_err(trouble)?, kind.crd().spec.names.kind);
    let managed = Managed::read(asked.cluster.as_ref(), kind).await?;
    let reference = options.named.reference();
    let account = match reference.kind {
        AccountKind::CloudAccount => "--account",
        AccountKind::ClusterCloudAccount => "--cluster-account",
    };
    let place_given = place.map(|place| format!(" --place {place}")).unwrap_or_default();
    let command = format!("kubectl cloudimages import {account} {}{place_given}", reference.name);
    let mut orphans = vec![];
    let mut pages = kind.existing(&asked.account.connection, place);
    let progress = Progress::new(&name, options.output == Format::Table);
    while let Some(page) = pages.next().await {
        let page = page.map_err(trouble)?;
        progress.at(page.read, page.total);
        for existing in page.things {
            if let Whose::Left(mark) = managed.whose(&existing, &realm) {
                orphans.push(Orphan::new(&name, existing, mark, &command));
            }
        }
    }
    Ok(orphans)
}

fn table(orphans: &[Orphan], account: &str) -> String {
    if orphans.is_empty() {
        return format!("nothing in {account} that the operator's marks tell of is without an object\n");
    }
    let lines = orphans.iter().map(|orphan| {
        let Orphan { kind, id, name, state, mark, .. } = orphan.clone();
        vec![kind, id, name, state.to_owned(), mark]
    });
    let mut lines = columns(&["KIND", "ID", "NAME", "STATE", "MARK"], lines).into_iter();
    let mut text = styled(HEADING, &lines.next().unwrap_or_default()) + "\n";
    for (line, orphan) in lines.zip(orphans) {
        text += &format!("{line}\n    {}\n", orphan.import);
    }
    text + "\nEach command prints a manifest that takes the thing over. To keep it, apply that. To delete it, set \
            managementPolicy: Managed and deletionPolicy: Delete in it, apply it, and delete the object. Before either, make sure \
            that the operator of no other cluster works with this account: what it made has no object here.\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_says_why_and_what_to_do() {
        let orphan = |mark| {
            let existing = Existing::new("img-1", Observation::Missing).named("nightly");
            Orphan::new("AospImage", existing, mark, "kubectl cloudimages import --account a")
        };
        let marked = orphan(Mark::Of("u-1".into()));
        let text =
            anstream::adapter::strip_str(&table(&[marked, orphan(Mark::Like("it is so"))], "a")).to_string();
        for part in [
            "made for the object with uid u-1",
            "perhaps the operator's: it is so",
            "import --account a --kind AospImage --include-marked --all --filter id=img-1",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(table(&[], "a").starts_with("nothing in a"));
    }
}
