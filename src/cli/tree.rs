//! `tree`: accounts, the image objects that use them, and what refers to what.

use super::{
    Answer, Error,
    objects::{Cluster, Object, Reference, Selected, Target},
    output::{BAD, Format, GOOD, QUIET, UNDER_WAY, styled},
    status::{of_image, style},
};
use crate::{
    account::{CloudAccount, ClusterCloudAccount},
    engine::status::READY,
    kinds::definitions,
};
use kube::{ResourceExt, api::DynamicObject};
use serde::Serialize;
use std::collections::HashSet;
use termtree::Tree;

/// What `tree` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    target: Target,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// An account and what uses it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Branch {
    /// Kind and name.
    account: String,
    /// Its namespace, if it has one; of an account that is not there, that of the objects that name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// The status of its condition Ready; none where the account is not there, or may not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<String>,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    /// What uses it.
    objects: Vec<Object>,
}

/// Prints the tree.
pub async fn run(options: Options) -> Result<Answer, Error> {
    let cluster = Cluster::connect(&options.target).await?;
    let objects = cluster.objects(&Selected::default()).await?;
    let mut accounts = cluster.list(&definitions::of::<CloudAccount>()).await?;
    // Not everybody may read those of the cluster; then what is known of them is who uses them.
    accounts.extend(cluster.list(&definitions::of::<ClusterCloudAccount>()).await.unwrap_or_default());
    let branches = branches(&accounts, objects);
    options.output.print(&branches, || {
        if branches.is_empty() {
            return format!("no accounts and no image objects in {}\n", cluster.place());
        }
        branches.iter().map(|branch| text(branch, cluster.is_wide())).collect()
    })?;
    Ok(Answer::Yes)
}

fn branches(accounts: &[DynamicObject], objects: Vec<Object>) -> Vec<Branch> {
    let mut branches: Vec<_> = accounts.iter().map(branch).collect();
    for object in objects {
        let is_cluster = object.account.starts_with("ClusterCloudAccount/");
        let namespace = (!is_cluster).then(|| object.namespace.clone());
        let found =
            branches.iter_mut().position(|it| it.account == object.account && it.namespace == namespace);
        let at = found.unwrap_or_else(|| {
            let account = object.account.clone();
            branches.push(Branch {
                account,
                namespace,
                ready: None,
                message: String::new(),
                objects: vec![],
            });
            branches.len() - 1
        });
        branches[at].objects.push(object);
    }
    branches.sort_by(|one, other| (&one.namespace, &one.account).cmp(&(&other.namespace, &other.account)));
    branches
}

fn branch(account: &DynamicObject) -> Branch {
    let conditions = account.data["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == READY);
    let text = |field: &str| ready.and_then(|ready| ready[field].as_str()).map(Into::into);
    let kind = account.types.as_ref().map(|types| types.kind.clone());
    let namespace = account.namespace();
    let default = if namespace.is_some() { "CloudAccount" } else { "ClusterCloudAccount" };
    Branch {
        account: format!("{}/{}", kind.as_deref().unwrap_or(default), account.name_any()),
        namespace,
        ready: Some(text("status").unwrap_or_else(|| "Unknown".into())),
        message: text("message").unwrap_or_default(),
        objects: vec![],
    }
}

fn text(branch: &Branch, wide: bool) -> String {
    let place = branch.namespace.as_ref().filter(|_| wide).map(|it| format!("{it}/")).unwrap_or_default();
    let state = match branch.ready.as_deref() {
        Some("True") => styled(GOOD, "Ready"),
        Some("False") => styled(BAD, &format!("not Ready: {}", branch.message)),
        Some(_) if branch.message.is_empty() => styled(UNDER_WAY, "not seen yet"),
        Some(_) => styled(UNDER_WAY, &branch.message),
        None => styled(BAD, "not there, or not to be read"),
    };
    let objects = &branch.objects;
    // What refers to an object stands below it, so it does not stand beside it as well.
    let referring: HashSet<_> =
        objects.iter().flat_map(|object| below(object, objects, objects)).map(Object::key).collect();
    let mut tree = Tree::new(format!("{place}{}  {state}", branch.account));
    let (roots, others): (Vec<_>, Vec<_>) =
        objects.iter().partition(|object| !referring.contains(&object.key()));
    let forest = Forest { all: objects, wide: branch.namespace.is_none() && wide };
    let mut drawn = HashSet::new();
    // Of those that refer to each other in a circle, the first one begins.
    for object in roots.into_iter().chain(others) {
        if !drawn.contains(&object.key()) {
            reach(object, objects, &mut drawn);
            tree.push(forest.node(object, objects, ""));
        }
    }
    format!("{tree}")
}

/// What stands below an object, among some of `all`: what it owns, and what refers to it and has no owner here.
fn below<'a>(
    object: &'a Object,
    objects: &'a [Object],
    all: &'a [Object],
) -> impl Iterator<Item = &'a Object> {
    objects.iter().filter(move |other| {
        let owner = other.owner.as_ref().filter(|owner| all.iter().any(|it| means(other, owner, it)));
        match owner {
            Some(owner) => means(other, owner, object),
            None => other.refers_to.iter().any(|reference| means(other, reference, object)),
        }
    })
}

/// An object, and what stands below it.
fn reach(object: &Object, objects: &[Object], reached: &mut HashSet<(String, String, String)>) {
    if reached.insert(object.key()) {
        below(object, objects, objects).for_each(|other| reach(other, objects, reached));
    }
}

fn means(object: &Object, reference: &Reference, other: &Object) -> bool {
    reference.name == other.name
        && reference.kind.as_ref().is_none_or(|kind| *kind == other.kind)
        && object.namespace == other.namespace
        && object.key() != other.key()
}

/// What is drawn of one account.
struct Forest<'a> {
    all: &'a [Object],
    wide: bool,
}

impl Forest<'_> {
    fn node(&self, object: &Object, objects: &[Object], by: &str) -> Tree<String> {
        let place = if self.wide { format!("{}/", object.namespace) } else { String::new() };
        let state = styled(style(object), &object.phase);
        let id = of_image(object).map(|id| format!("  {}", styled(QUIET, &id))).unwrap_or_default();
        let is_here = |reference: &&Reference| self.all.iter().any(|other| means(object, reference, other));
        let lacking = object.refers_to.iter().filter(|reference| !is_here(reference)).map(|reference| {
            styled(QUIET, &format!("  {}: {}, which is not here", reference.field, reference.name))
        });
        let lacking: String = lacking.collect();
        let mut tree = Tree::new(format!("{place}{}{by}  {state}{id}{lacking}", object.title()));
        for other in below(object, objects, self.all) {
            let is_owner = other.owner.as_ref().is_some_and(|owner| means(other, owner, object));
            let field = other.refers_to.iter().find(|reference| !is_owner && means(other, reference, object));
            let by = field.map(|reference| format!(" ({})", reference.field)).unwrap_or_default();
            // Two that refer to each other wait for ever, and are not drawn for ever.
            let rest: Vec<_> = objects.iter().filter(|it| it.key() != object.key()).cloned().collect();
            tree.push(self.node(other, &rest, &by));
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(name: &str, refers_to: Option<&str>) -> Object {
        let reference = |name: &str| Reference { field: "imageRef".into(), kind: None, name: name.into() };
        Object {
            kind: "ImageExport".into(),
            namespace: "team".into(),
            name: name.into(),
            account: "CloudAccount/aliyun".into(),
            phase: "Ready".into(),
            ready: "True".into(),
            refers_to: refers_to.map(reference).into_iter().collect(),
            ..Object::default()
        }
    }

    fn drawn(objects: Vec<Object>) -> String {
        let account = json!({
            "apiVersion": "cloudimages.dev/v1alpha1", "kind": "CloudAccount",
            "metadata": { "name": "aliyun", "namespace": "team" },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let branches = branches(&[serde_json::from_value(account).unwrap()], objects);
        let text: String = branches.iter().map(|branch| text(branch, false)).collect();
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn what_refers_to_an_object_stands_below_it() {
        assert_eq!(
            drawn(vec![
                object("base", None),
                object("copy", Some("base")),
                object("other", Some("elsewhere"))
            ]),
            "CloudAccount/aliyun  Ready\n\
             ├── ImageExport/base  Ready\n\
             │   └── ImageExport/copy (imageRef)  Ready\n\
             └── ImageExport/other  Ready  imageRef: elsewhere, which is not here\n"
        );
    }

    #[test]
    fn what_refers_to_each_other_is_shown_once() {
        let text =
            drawn(vec![object("one", Some("other")), object("other", Some("one")), object("third", None)]);
        for name in ["one", "other", "third"] {
            assert_eq!(text.matches(&format!("ImageExport/{name}")).count(), 1, "{text}");
        }
        assert!(!text.contains("not here"), "{text}");
    }

    #[test]
    fn one_that_refers_to_several_stands_below_each() {
        let reference = |name: &str| Reference { field: "imageRef".into(), kind: None, name: name.into() };
        let refers_to = ["one", "two", "three"].map(reference).into();
        let both = Object { refers_to, ..object("both", None) };
        assert_eq!(
            drawn(vec![object("one", None), object("two", None), both]),
            "CloudAccount/aliyun  Ready\n\
             ├── ImageExport/one  Ready\n\
             │   └── ImageExport/both (imageRef)  Ready  imageRef: three, which is not here\n\
             └── ImageExport/two  Ready\n    \
                 └── ImageExport/both (imageRef)  Ready  imageRef: three, which is not here\n"
        );
    }

    /// Also where they refer to what their owner refers to.
    #[test]
    fn what_an_object_owns_stands_below_it_and_nowhere_else() {
        let owner =
            Reference { field: "owner".into(), kind: Some("ImageExport".into()), name: "many".into() };
        let owned = |name: &str| Object { owner: Some(owner.clone()), ..object(name, Some("base")) };
        let many = Object { copies: Some("1/2".into()), ..object("many", Some("base")) };
        let strayed =
            Object { owner: Some(Reference { name: "gone".into(), ..owner.clone() }), ..owned("stray") };
        assert_eq!(
            drawn(vec![object("base", None), many, owned("one"), owned("two"), strayed]),
            "CloudAccount/aliyun  Ready\n\
             └── ImageExport/base  Ready\n    \
                 ├── ImageExport/many (imageRef)  Ready  1/2 copies\n    \
                 │   ├── ImageExport/one  Ready\n    \
                 │   └── ImageExport/two  Ready\n    \
                 └── ImageExport/stray (imageRef)  Ready\n"
        );
    }

    #[test]
    fn an_account_that_is_not_there_is_shown_with_what_names_it() {
        let mut stray = object("stray", None);
        stray.account = "CloudAccount/gone".into();
        let text = drawn(vec![stray]);
        assert!(
            text.contains("CloudAccount/gone  not there, or not to be read\n└── ImageExport/stray"),
            "{text}"
        );
    }
}
