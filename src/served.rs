//! Whether the CRDs that the API server serves know everything that this operator writes, or are of an older one.
//!
//! An operator whose status the API server refuses would find out object by object. What is served is read from the API
//! server's OpenAPI documents, which everybody may read; CRDs only their administrators may.

use crate::{engine::health::Health, engine::pace, image::GROUP, kinds, kinds::Kind};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What to do about CRDs that are missing or older.
pub const INSTALL: &str = "cloud-image-operator crds | kubectl apply --server-side -f -";

/// The one version that there is.
const VERSION: &str = "v1alpha1";

/// Why the served CRDs do not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// This one is not served at all.
    Missing(String),
    /// This one, served, does not know this field, or this value of it.
    Older(String, String),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(crd) => {
                write!(out, "the API server does not know {crd}; install the CRDs first: {INSTALL}")
            }
            Self::Older(crd, what) => write!(
                out,
                "the CRD {crd} that is installed is older than this operator ({}), and does not know {what}; upgrade the CRDs: {INSTALL}",
                env!("CARGO_PKG_VERSION")
            ),
        }
    }
}

/// The document that describes the group, and what changes with it.
struct Document {
    /// Where it is; ends in a hash of what it says.
    url: String,
}

async fn document(client: &Client) -> Result<Option<Document>, kube::Error> {
    let request = http::Request::get("/openapi/v3").body(vec![]).map_err(kube::Error::HttpError)?;
    let index: Value = client.request(request).await?;
    let url = &index["paths"][format!("apis/{GROUP}/{VERSION}")]["serverRelativeURL"];
    Ok(url.as_str().map(|url| Document { url: url.to_owned() }))
}

/// What keeps the operator from working with the CRDs that are served, if anything does. `known` is where what was read
/// last time is, and changes with it: then there is nothing to read.
async fn check(
    client: &Client,
    kinds: &[&dyn Kind],
    known: &mut Option<(String, Option<Unfit>)>,
) -> Result<Option<Unfit>, kube::Error> {
    let document = document(client).await?;
    if let (Some(document), Some((url, unfit))) = (&document, &*known)
        && *url == document.url
    {
        return Ok(unfit.clone());
    }
    let served: Value = match &document {
        Some(document) => {
            let request = http::Request::get(&document.url).body(vec![]).map_err(kube::Error::HttpError)?;
            client.request(request).await?
        }
        None => Value::Null,
    };
    let unfit = kinds::crds(kinds).iter().find_map(|crd| unfit(crd, &served));
    *known = document.map(|document| (document.url, unfit.clone()));
    Ok(unfit)
}

/// Looks at the CRDs for the first time, and gives them so long to show, as those need that were installed a moment ago. `None`
/// also where it cannot be told: the documents may be closed to the operator, and are empty while they are made anew.
pub async fn first_look(
    client: &Client,
    kinds: &[&dyn Kind],
    health: &Health,
    patience: Duration,
) -> Option<Unfit> {
    let last = Instant::now() + patience;
    loop {
        let is_last = Instant::now() >= last;
        match check(client, kinds, &mut None).await {
            Ok(Some(Unfit::Missing(_))) | Err(_) if !is_last => sleep(pace::CRDS / 20).await,
            Ok(unfit) => {
                tell(health, None, unfit.as_ref());
                return unfit;
            }
            Err(error) => {
                tracing::warn!(%error, "whether the CRDs are older than this operator cannot be told");
                return None;
            }
        }
    }
}

/// Goes on looking, for ever: CRDs are upgraded, or taken away, while the operator runs.
pub async fn watch(client: Client, kinds: &[&dyn Kind], health: Health, mut before: Option<Unfit>) {
    let mut known = None;
    loop {
        sleep(if before.is_some() { pace::UNFIT_CRDS } else { pace::FIT_CRDS }).await;
        // An API server that cannot be asked says nothing of its CRDs.
        if let Ok(unfit) = check(&client, kinds, &mut known).await {
            tell(&health, before.as_ref(), unfit.as_ref());
            before = unfit;
        }
    }
}

fn tell(health: &Health, before: Option<&Unfit>, now: Option<&Unfit>) {
    const WHAT: &str = "CRDs";
    match now {
        Some(unfit) => health.lack(WHAT, unfit.to_string()),
        None => health.have(WHAT),
    }
    match (before, now) {
        (Some(before), Some(now)) if before == now => {}
        (_, Some(unfit)) => tracing::error!("{unfit}"),
        (Some(_), None) => tracing::info!("the CRDs are as this operator needs them now"),
        (None, None) => {}
    }
}

/// Compares one CRD with the API server's OpenAPI document.
fn unfit(crd: &CustomResourceDefinition, served: &Value) -> Option<Unfit> {
    let name = format!("{}.{GROUP}", crd.spec.names.plural);
    let kind = &crd.spec.names.kind;
    let of_the_kind = |schema: &&Value| {
        let names = schema["x-kubernetes-group-version-kind"].as_array();
        names.is_some_and(|names| {
            names
                .iter()
                .any(|name| name["group"] == GROUP && name["version"] == VERSION && name["kind"] == **kind)
        })
    };
    let schemas = served["components"]["schemas"].as_object();
    // The kind's list has a name of its own.
    let Some(theirs) = schemas.and_then(|schemas| schemas.values().find(of_the_kind)) else {
        return Some(Unfit::Missing(name));
    };
    let version = crd.spec.versions.iter().find(|version| version.name == VERSION)?;
    let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
    let ours = serde_json::to_value(schema).ok()?;
    let unknown = ["spec", "status"]
        .iter()
        .find_map(|half| unknown(&ours["properties"][half], &theirs["properties"][half], half));
    unknown.map(|what| Unfit::Older(name, what))
}

/// What `theirs` would drop or refuse of the things that `ours` allows: the first of them. Rules and patterns are left
/// aside: those are for users, and a newer schema may well be stricter.
fn unknown(ours: &Value, theirs: &Value, at: &str) -> Option<String> {
    if theirs.is_null() {
        return (!ours.is_null()).then(|| at.to_owned());
    }
    if theirs["x-kubernetes-preserve-unknown-fields"] == true {
        return None;
    }
    let (values, known) = (ours["enum"].as_array(), theirs["enum"].as_array());
    if let (Some(values), Some(known)) = (values, known)
        && let Some(new) = values.iter().find(|value| !known.contains(value))
    {
        return Some(format!("{at}: {}", new.as_str().map_or_else(|| new.to_string(), Into::into)));
    }
    for limit in ["maxLength", "maxItems", "maximum", "maxProperties"] {
        let lower = |theirs: f64| ours[limit].as_f64().is_none_or(|ours| theirs < ours);
        if theirs[limit].as_f64().is_some_and(lower) {
            return Some(format!("{at} with {limit} {}", ours[limit]));
        }
    }
    let fields = ours["properties"].as_object().into_iter().flatten();
    let deeper = fields.map(|(name, field)| (field, &theirs["properties"][name], format!("{at}.{name}")));
    let items = [("items", "[]"), ("additionalProperties", ".*")]
        .map(|(part, mark)| (&ours[part], &theirs[part], format!("{at}{mark}")));
    deeper
        .chain(items.into_iter().filter(|(ours, ..)| ours.is_object()))
        .find_map(|(ours, theirs, at)| unknown(ours, theirs, &at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The operator's own CRDs as the API server serves them.
    fn served() -> Value {
        let mut schemas = serde_json::Map::new();
        for crd in kinds::crds(kinds::KINDS) {
            let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref();
            let mut schema = serde_json::to_value(schema).unwrap();
            let kind = &crd.spec.names.kind;
            schema["x-kubernetes-group-version-kind"] =
                json!([{ "group": GROUP, "kind": kind, "version": VERSION }]);
            schemas.insert(format!("dev.cloudimages.v1alpha1.{kind}"), schema);
        }
        json!({ "components": { "schemas": schemas } })
    }

    fn judge(served: &Value) -> Option<Unfit> {
        kinds::crds(kinds::KINDS).iter().find_map(|crd| unfit(crd, served))
    }

    #[test]
    fn the_operators_own_crds_fit_and_so_do_newer_ones() {
        let mut served = served();
        assert_eq!(judge(&served), None);
        let status = &mut served["components"]["schemas"]["dev.cloudimages.v1alpha1.ImageComponent"]["properties"]
            ["status"];
        status["properties"]["newer"] = json!({ "type": "string" });
        status["properties"]["phase"]["enum"].as_array_mut().unwrap().push(json!("Resting"));
        assert_eq!(judge(&served), None);
    }

    #[test]
    fn older_ones_do_not_and_the_sentence_names_what_they_lack() {
        let older = |change: fn(&mut Value)| {
            let mut served = served();
            change(
                &mut served["components"]["schemas"]["dev.cloudimages.v1alpha1.ImageComponent"]["properties"],
            );
            judge(&served).unwrap().to_string()
        };
        let field = older(|all| drop(all["status"]["properties"].as_object_mut().unwrap().remove("imageId")));
        assert!(
            field.starts_with("the CRD imagecomponents.cloudimages.dev that is installed is older"),
            "{field}"
        );
        assert!(
            field.contains("does not know status.imageId; upgrade the CRDs: cloud-image-operator crds |"),
            "{field}"
        );
        let value = older(|all| {
            all["status"]["properties"]["phase"]["enum"].as_array_mut().unwrap().retain(|it| it != "Unclear");
        });
        assert!(value.contains("does not know status.phase: Unclear;"), "{value}");
        let deep = older(|all| {
            let operation = &mut all["status"]["properties"]["operation"]["properties"];
            operation["candidates"]["items"]["maxLength"] = json!(1);
        });
        assert!(deep.contains("status.operation.candidates[] with maxLength"), "{deep}");
        let spec = older(|all| drop(all["spec"]["properties"].as_object_mut().unwrap().remove("timeout")));
        assert!(spec.contains("does not know spec.timeout;"), "{spec}");
        assert_eq!(judge(&json!({})).unwrap(), Unfit::Missing("cloudaccounts.cloudimages.dev".into()));
    }
}
