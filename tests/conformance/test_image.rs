//! `TestImage`: the skeleton of a kind, to show that one file is all that a kind needs. It stands for BatchCompute's
//! `CreateImage` too, with a name as its only parameter, and borrows what the vendor has already: its client, the other
//! kind's `match`, and the simulator's call. A real kind also has rules (`fixed`, `maxLength`), `lookalikes` and a `find`
//! that finds.

use cloud_image_operator::{
    account::AccountVendor,
    engine::{
        existing::Existing,
        external::{External, Submitted, Timeout, Unusable},
        index::{Reference, Referent},
        journal::Permit,
        preflight::{Obstacle, Preflight},
        progress::{Comparison, Deletion, Handle, Observation, Product, Recovered},
    },
    image::{ImageRef, ImageSpec, ImageStatus},
    vendors::aliyun::{Client, batch_compute_image::BatchComputeMatch},
    wire::{CallError, Effect, encode::lower_camel, pages::Page},
};
use http::Method;
use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

// ---- What a user writes --------------------------------------------------------------------------------------------

/// An image for tests.
#[derive(CustomResource, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "cloudimages.dev",
    version = "v1alpha1",
    kind = "TestImage",
    namespaced,
    status = "ImageStatus"
)]
pub struct TestImageSpec {
    #[serde(flatten)]
    image: ImageSpec<BatchComputeMatch>,
    for_provider: TestParameters,
}

/// What the vendor is told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct TestParameters {
    /// Name of the image. Example: `test`.
    name: String,
    /// Other objects of the kind, on which this one works.
    #[serde(default)]
    #[schemars(length(max = 8))]
    part_refs: Vec<ImageRef>,
    /// Something else on which it works.
    #[serde(default)]
    tool_ref: Option<ImageRef>,
    /// What those are, as the vendor is told.
    #[serde(skip)]
    made_of: Vec<String>,
}

impl TestParameters {
    fn parts(&self) -> impl Iterator<Item = Reference> {
        let parts = self.part_refs.iter().map(|part| part.reference(PART, "forProvider.parts"));
        parts.chain(self.tool_ref.iter().map(|tool| tool.reference(TOOL, "forProvider.tool")))
    }
}

// ---- The vendor's requests and answers ----------------------------------------------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

/// The code about the image itself. Others of its class are about something else that is missing.
const NO_IMAGE: &str = "InvalidResource.NotFound";

/// What the kind makes, and takes.
const PART: &str = "a test image";
/// What it takes besides, which no kind makes: the tests say which stands for it.
const TOOL: &str = "a tool";

// ---- How one becomes the other -------------------------------------------------------------------------------------

impl External for TestImage {
    type Client = Client;
    type Match = BatchComputeMatch;

    const ACTION: &'static str = "CreateImage";
    const BATCH: usize = 1;
    const TIMEOUT: Timeout = Timeout {
        after: Duration::from_secs(600),
        why: "the vendor's call answers when the image is there, so that one which cannot be seen after ten minutes is stuck",
    };
    const IMMEDIATE: bool = true;
    const ROW_ID: &'static str = "id";
    const YIELDS: Option<&'static str> = Some(PART);
    const TAKES: &'static [&'static str] = &[PART, TOOL];

    fn spec(&self) -> &ImageSpec<BatchComputeMatch> {
        &self.spec.image
    }

    fn status(&self) -> Option<&ImageStatus> {
        self.status.as_ref()
    }

    fn region(&self, client: &Client) -> String {
        client.region().to_owned()
    }

    fn realm(&self, account: &AccountVendor) -> String {
        format!("{:?}", account.aliyun)
    }

    fn place(&self, account: &AccountVendor) -> Option<String> {
        account.aliyun.as_ref().map(|account| account.region_id.clone())
    }

    fn references(&self) -> Vec<Reference> {
        self.spec.for_provider.parts().collect()
    }

    fn resolved(&self, referents: &[Referent]) -> Self {
        let mut object = self.clone();
        let parts = self.spec.for_provider.parts();
        let made_of = parts.filter_map(|part| part.among(referents).map(|referent| referent.id.clone()));
        object.spec.for_provider.made_of = made_of.collect();
        object
    }

    fn settle(&self, _: &Client) -> Duration {
        Duration::from_secs(5)
    }

    /// Stands for a bug in a kind.
    fn check(&self, _: &Client) -> Result<(), Unusable> {
        assert!(self.spec.for_provider.name != "bug", "a kind has a bug");
        Ok(())
    }

    /// Stands for what a call needs: something under the name `lacking` never comes.
    fn preflight(&self, client: &Client) -> Vec<Preflight<Client>> {
        vec![Preflight {
            what: "name",
            region: self.asked_in(client),
            id: self.spec.for_provider.name.clone(),
            read: |client, _, _| {
                Box::pin(async move {
                    let call = client.batch_compute::<Value>(
                        "ListImages",
                        Effect::Read,
                        Method::GET,
                        "/images?MaxItemCount=1",
                        vec![],
                    );
                    call.await.map(|_| HashMap::new())
                })
            },
            batch: 1,
            judge: |needed, _| {
                (needed.id == "lacking").then(|| Obstacle::lasting("it lacks something / 缺少所需的内容"))
            },
        }]
    }

    fn token(uid: &str, attempt: u32) -> String {
        format!("{}_{attempt}", uid.replace('-', "_"))
    }

    async fn submit(&self, client: &Client, permit: Permit) -> Result<Submitted, CallError> {
        let TestParameters { name, made_of, .. } = &self.spec.for_provider;
        let (ecs_image_id, made_of) = (format!("m-{name}"), made_of.join(" "));
        let body =
            json!({ "Name": name, "EcsImageId": ecs_image_id, "Platform": "Linux", "Description": made_of });
        let body = body.to_string();
        let target = format!("/images?IdempotentToken={}", permit.token());
        let call = client.batch_compute(Self::ACTION, Effect::Create, Method::POST, &target, body.into());
        let answer = call.await?;
        let Created { id } = answer.value;
        Ok(Submitted { handle: Handle::image(id), request_id: answer.request_id })
    }

    async fn recover(&self, _: &Client, _: &str, _: Timestamp) -> Result<Recovered, CallError> {
        Ok(Recovered::Replay)
    }

    async fn observe(
        client: &Client,
        _: &str,
        handles: &[Handle],
    ) -> Result<HashMap<Handle, Observation>, CallError> {
        let mut seen = HashMap::new();
        for handle in handles {
            let target = format!("/images/{}", handle.id());
            match client.batch_compute("GetImage", Effect::Read, Method::GET, &target, vec![]).await {
                Ok(answer) => {
                    let image_id = Some(handle.id().to_owned());
                    let at_provider = lower_camel(answer.value);
                    let product = Product { image_id, at_provider, ..Product::default() };
                    seen.insert(handle.clone(), Observation::Ready(product));
                }
                Err(CallError::Refused(refusal)) if refusal.code == NO_IMAGE => {}
                Err(error) => return Err(error),
            }
        }
        Ok(seen)
    }

    async fn find(&self, _: &Client, _: &BatchComputeMatch) -> Result<Vec<Handle>, CallError> {
        Ok(vec![])
    }

    async fn page(_: &Client, _: &str, _: Option<String>) -> Result<Page, CallError> {
        Ok(Page::default())
    }

    fn existing(_: &Value) -> Option<Existing> {
        None
    }

    fn compare(&self, _: &Client, product: &Product) -> Comparison {
        let named = product.at_provider.get("name").and_then(Value::as_str);
        if named == Some(&self.spec.for_provider.name) {
            Comparison::Same
        } else {
            Comparison::Fixed(vec!["name".into()])
        }
    }

    async fn amend(&self, _: &Client, _: &Product) -> Result<(), CallError> {
        Ok(())
    }

    async fn delete(&self, client: &Client, handle: &Handle) -> Result<Deletion, CallError> {
        let target = format!("/images/{}", handle.id());
        let call = client.batch_compute::<IgnoredAny>(
            "DeleteImage",
            Effect::Change,
            Method::DELETE,
            &target,
            vec![],
        );
        match call.await {
            Err(CallError::Refused(refusal)) if refusal.code == NO_IMAGE => Ok(Deletion::Gone),
            done => done.map(|_| Deletion::Gone),
        }
    }
}
