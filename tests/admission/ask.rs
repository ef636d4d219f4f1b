//! Asks the API server what it thinks of an object, without storing it.

use crate::harness::World;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams, ValidationDirective},
    core::{ApiResource, GroupVersionKind},
};
use serde_json::Value;

/// The object as the API server would store it, or what it has against it.
pub type Answer = Result<Value, Refusals>;

/// What rules say: each the field and the sentence, which may have the refused value before it.
#[derive(Debug)]
pub struct Refusals(pub Vec<(String, String)>);

impl Refusals {
    /// Whether exactly these rules speak: each a field and the end of its sentence.
    pub fn are(&self, expected: &[(&str, &str)]) -> bool {
        let said = |(field, sentence): &(&str, &str)| {
            self.0.iter().any(|(about, says)| about == field && says.ends_with(sentence))
        };
        self.0.len() == expected.len() && expected.iter().all(said)
    }
}

/// Demands a refusal by exactly these rules.
pub fn assert_refused(answer: Answer, expected: &[(&str, &str)], what: &str) {
    match answer {
        Ok(_) => panic!("{what} is accepted"),
        Err(refusals) => assert!(refusals.are(expected), "{what}: {refusals:#?} instead of {expected:#?}"),
    }
}

/// Demands the contrary.
pub fn assert_accepted(answer: Answer, what: &str) -> Value {
    answer.unwrap_or_else(|refusals| panic!("{what} is refused: {refusals:#?}"))
}

/// Asks for a creation.
pub async fn create(world: &World, object: &Value) -> Answer {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    answer(api(world, object).create(&params, &typed(object)).await)
}

/// Asks for a server-side apply that refuses unknown fields, as `kubectl apply --server-side` does.
pub async fn apply(world: &World, object: &Value) -> Answer {
    let params =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::apply("test") };
    let name = object["metadata"]["name"].as_str().expect("a name");
    answer(
        api(world, object).patch(name, &PatchParams { dry_run: true, ..params }, &Patch::Apply(object)).await,
    )
}

/// Asks for a JSON merge patch of an object that exists.
pub async fn patch(world: &World, object: &Value, patch: &Value) -> Answer {
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let name = object["metadata"]["name"].as_str().expect("a name");
    answer(api(world, object).patch(name, &params, &Patch::Merge(patch)).await)
}

/// Asks for another status of an object that exists.
pub async fn patch_status(world: &World, object: &Value) -> Answer {
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let name = object["metadata"]["name"].as_str().expect("a name");
    let patch = Patch::Merge(serde_json::json!({ "status": object["status"] }));
    answer(api(world, object).patch_status(name, &params, &patch).await)
}

/// Puts each value into `field` of `object`: the `good` ones must be accepted, the `bad` ones refused with exactly these
/// sentences about that field.
pub async fn try_values<'a>(
    world: &World,
    object: &Value,
    field: &str,
    good: impl IntoIterator<Item = Value>,
    bad: impl IntoIterator<Item = (Value, &'a [&'a str])>,
) {
    for value in good {
        assert_accepted(
            create(world, &with(object, field, value.clone())).await,
            &format!("{field} = {}", brief(&value)),
        );
    }
    for (value, sentences) in bad {
        let expected: Vec<_> = sentences.iter().map(|sentence| (field, *sentence)).collect();
        let answer = create(world, &with(object, field, value.clone())).await;
        assert_refused(answer, &expected, &format!("{field} = {}", brief(&value)));
    }
}

/// `object` with `value` at the dotted path `field`; numbers are places in lists; null takes the field away.
pub fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut object = object.clone();
    let mut place = &mut object;
    let mut steps = field.split('.').peekable();
    while let Some(step) = steps.next() {
        if steps.peek().is_none() && value.is_null() {
            place.as_object_mut().expect("an object").remove(step);
            return object;
        }
        place = match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[step],
        };
    }
    *place = value;
    object
}

fn brief(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

fn typed(object: &Value) -> DynamicObject {
    serde_json::from_value(object.clone()).expect("a Kubernetes object")
}

fn api(world: &World, object: &Value) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().expect("a kind");
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cloudimages.dev", "v1alpha1", kind));
    match kind {
        "ClusterCloudAccount" => Api::all_with(world.client.clone(), &resource),
        _ => Api::namespaced_with(world.client.clone(), &world.namespace, &resource),
    }
}

fn answer(answer: Result<DynamicObject, kube::Error>) -> Answer {
    let status = match answer {
        Ok(object) => return Ok(serde_json::to_value(object).expect("an object is JSON")),
        Err(kube::Error::Api(status)) => status,
        Err(error) => panic!("the API server does not answer: {error}"),
    };
    let causes = status.details.map(|details| details.causes).unwrap_or_default();
    let mut refusals: Vec<_> = causes.into_iter().map(|cause| (cause.field, cause.message)).collect();
    // Said besides, when the schema alone is enough to refuse.
    refusals.retain(|(_, sentence)| !sentence.contains("some validation rules were not checked"));
    if refusals.is_empty() {
        refusals.push((String::new(), status.message));
    }
    Err(Refusals(refusals))
}
