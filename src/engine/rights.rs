//! What the API server lets the operator do, asked without trying: a try would change something, or leave a refusal in the
//! cluster's audit log, which looks like an attack.

use super::{lock, pace};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::{
    Api, Client,
    api::PostParams,
    core::{ApiResource, Status},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::{sync::Mutex as Turn, time::Instant};

/// Whether this is allowed, as far as the API server tells: `None` where it does not let that be asked.
pub async fn is_allowed(client: &Client, what: ResourceAttributes) -> Result<Option<bool>, kube::Error> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec { resource_attributes: Some(what), ..Default::default() },
        ..Default::default()
    };
    match Api::<SelfSubjectAccessReview>::all(client.clone()).create(&PostParams::default(), &review).await {
        Ok(review) => Ok(review.status.map(|status| status.allowed)),
        Err(kube::Error::Api(status)) if status.code == 403 => Ok(None),
        Err(error) => Err(error),
    }
}

/// The right to write the objects of one kind, by namespace: asked for once in a while for all of them.
#[derive(Clone)]
pub struct WriteRights {
    client: Client,
    known: Arc<Mutex<HashMap<String, Known>>>,
}

/// When it was last there. Whoever asks holds it, and others wait for the answer.
type Known = Arc<Turn<Option<Instant>>>;

impl WriteRights {
    /// Nothing is known yet.
    pub fn new(client: Client) -> Self {
        Self { client, known: Arc::default() }
    }

    /// Fails as the write would, where the API server says that the object may not be written. That the kind's objects of this
    /// namespace may is believed for [`pace::RIGHT`].
    pub async fn check(
        &self,
        resource: &ApiResource,
        namespace: &str,
        name: &str,
    ) -> Result<(), kube::Error> {
        let known = self.of(namespace);
        let mut known = known.lock().await;
        if known.is_some_and(is_fresh) {
            return Ok(());
        }
        let asked = Instant::now();
        let mut what = ResourceAttributes {
            verb: Some("patch".into()),
            group: Some(resource.group.clone()),
            version: Some(resource.version.clone()),
            resource: Some(resource.plural.clone()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        };
        if is_allowed(&self.client, what.clone()).await? != Some(false) {
            *known = Some(asked);
            return Ok(());
        }
        // Rights may be given by name.
        what.name = Some(name.to_owned());
        if is_allowed(&self.client, what).await? != Some(false) {
            return Ok(());
        }
        let message = format!(
            "{} \"{name}\" is forbidden: by a SelfSubjectAccessReview, the operator may not patch it",
            resource.plural
        );
        Err(kube::Error::Api(Box::new(Status::failure(&message, "Forbidden").with_code(403))))
    }

    /// What is known of a namespace. What is too old to be believed is forgotten when there is a new one.
    fn of(&self, namespace: &str) -> Known {
        let mut known = lock(&self.known);
        if let Some(known) = known.get(namespace) {
            return known.clone();
        }
        known.retain(|_, known| known.try_lock().map_or(true, |known| known.is_some_and(is_fresh)));
        known.entry(namespace.to_owned()).or_default().clone()
    }
}

fn is_fresh(at: Instant) -> bool {
    at.elapsed() <= pace::RIGHT
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Json, Router, http::StatusCode, response::IntoResponse};
    use serde_json::{Value, json};
    use std::time::Duration;

    /// Who asks an API server that says this, and what was asked.
    fn asking(
        says: impl Fn(&Value) -> Option<bool> + Clone + Send + Sync + 'static,
    ) -> (WriteRights, Arc<Mutex<Vec<Value>>>) {
        let asked = Arc::new(Mutex::new(vec![]));
        let heard = asked.clone();
        let serve = async move |Json(mut review): Json<Value>| {
            let what = review["spec"]["resourceAttributes"].clone();
            let allowed = says(&what);
            heard.lock().unwrap().push(what);
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Some(allowed) = allowed else {
                let refused =
                    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403 });
                return (StatusCode::FORBIDDEN, Json(refused)).into_response();
            };
            review["status"] = json!({ "allowed": allowed });
            Json(review).into_response()
        };
        let client = Client::new(Router::new().fallback(serve), "default");
        (WriteRights::new(client), asked)
    }

    async fn checked(rights: &WriteRights, namespace: &str, name: &str) -> Result<(), u16> {
        let resource = ApiResource {
            group: "cloudimages.dev".into(),
            version: "v1".into(),
            api_version: "cloudimages.dev/v1".into(),
            kind: "Thing".into(),
            plural: "things".into(),
        };
        match rights.check(&resource, namespace, name).await {
            Ok(()) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.code),
            Err(error) => panic!("{error}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_is_asked_for_once_in_a_while_for_all_objects_of_a_namespace() {
        let (rights, asked) = asking(|_| Some(true));
        let count = || asked.lock().unwrap().len();
        let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
        let all = futures::future::join_all(names.iter().map(|name| checked(&rights, "a", name))).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(count(), 1);
        let what = json!({
            "verb": "patch", "group": "cloudimages.dev", "version": "v1", "resource": "things", "namespace": "a",
        });
        assert_eq!(asked.lock().unwrap()[0], what);
        assert_eq!((checked(&rights, "b", "0").await, count()), (Ok(()), 2));
        tokio::time::advance(pace::RIGHT).await;
        assert_eq!((checked(&rights, "a", "0").await, count()), (Ok(()), 3));
        assert_eq!(rights.known.lock().unwrap().len(), 2);
        tokio::time::advance(2 * pace::RIGHT).await;
        assert_eq!(checked(&rights, "c", "0").await, Ok(()));
        assert_eq!(rights.known.lock().unwrap().len(), 1, "what is too old is not kept");
    }

    #[tokio::test(start_paused = true)]
    async fn a_right_that_is_missing_is_a_refusal_at_once_and_may_be_given_by_name() {
        let is_known = Arc::new(Mutex::new(false));
        let given = is_known.clone();
        let (rights, asked) = asking(move |what| Some(*given.lock().unwrap() || what["name"] == "known"));
        assert_eq!(checked(&rights, "a", "unknown").await, Err(403));
        assert_eq!(checked(&rights, "a", "known").await, Ok(()));
        assert_eq!(checked(&rights, "a", "unknown").await, Err(403), "another's right is not one's own");
        assert_eq!(asked.lock().unwrap().len(), 6);
        *is_known.lock().unwrap() = true;
        assert_eq!(checked(&rights, "a", "unknown").await, Ok(()), "a refusal is not believed any longer");
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_may_ask_the_write_itself_tells() {
        let (rights, _) = asking(|_| None);
        assert_eq!(checked(&rights, "a", "0").await, Ok(()));
    }
}
