//! Asks the API server what it thinks of an object, without storing it.

use crate::harness::World;
use cloud_image_operator::{
    cli::rules::{Refusal, Rules},
    kinds::{KINDS, crds},
};
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
    let answer = create_only(world, object).await;
    assert_plan_agrees(object, None, &answer);
    answer
}

/// The same, where rules have spoken about so many like it that `plan` is not asked.
pub async fn create_only(world: &World, object: &Value) -> Answer {
    let params = PostParams { dry_run: true, ..PostParams::default() };
    answer(api(world, object).create(&params, &typed(object)).await)
}

/// What `plan` says of an object where it cannot ask the API server must be what that says. Without being told to be strict,
/// that drops what it does not know, and `plan` tells of it.
fn assert_plan_agrees(object: &Value, old: Option<&Value>, answer: &Answer) {
    thread_local! {
        static ALL: Vec<(String, Rules)> =
            crds(KINDS).iter().map(|crd| (crd.spec.names.kind.clone(), Rules::of(crd))).collect();
    }
    let refusals = ALL.with(|all| {
        let (_, rules) = all.iter().find(|(kind, _)| object["kind"] == **kind).expect("a kind of ours");
        let mut refusals = rules.check(&rules.defaulted(object), old);
        refusals.retain(|refusal| !refusal.sentence.ends_with("is no field that is known"));
        refusals
    });
    let what = object.to_string().chars().take(300).collect::<String>();
    match answer {
        Ok(_) => assert!(refusals.is_empty(), "plan refuses what is accepted: {refusals:#?} {what}"),
        Err(Refusals(expected)) => {
            assert!(!refusals.is_empty(), "plan takes what is refused: {expected:#?} {what}");
            // Where rules speak, they speak in the same words about the same fields.
            let is_rule = |(_, says): &&(String, String)| {
                refusals.iter().any(|Refusal { sentence, .. }| says.ends_with(&**sentence))
            };
            for (field, says) in expected.iter().filter(is_rule) {
                let same = |it: &Refusal| says.ends_with(&*it.sentence) && it.field == *field;
                assert!(refusals.iter().any(same), "{field}: {says}, and plan says {refusals:#?} {what}");
            }
            let unevaluated = refusals.iter().find(|it| it.sentence.starts_with("the rule cannot be"));
            assert!(unevaluated.is_none(), "{unevaluated:#?} {what}");
        }
    }
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
    let current = api(world, object).get(name).await.expect("it is there");
    let current = serde_json::to_value(current).expect("an object is JSON");
    let mut changed = current.clone();
    json_patch::merge(&mut changed, patch);
    let answer = answer(api(world, object).patch(name, &params, &Patch::Merge(patch)).await);
    assert_plan_agrees(&changed, Some(&current), &answer);
    answer
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
