//! What the tests on a real control plane share: one control plane for each test binary, one [`World`] for each test.
//!
//! A world is a namespace of its own, a simulated vendor of its own, and an operator that watches only that namespace,
//! so that tests run side by side. Objects are written and read as JSON, the way a user's tools see them.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

mod objects;
mod operator;
mod plane;
mod proxy;

pub use objects::{
    account, account_at, account_of, aosp_image, component, condition, distribution, image_export, image_of,
    is_ready, rights, secret, volcengine_account,
};
pub use operator::{Operator, Program};
pub use plane::{
    OPERATOR, Requests, Target, Write, another as another_control_plane, client_of, kubeconfig,
    kubeconfig_as, kubeconfig_in, operator_kubeconfig, operator_kubeconfig_of, operators_way,
};
pub use proxy::Proxy;

use cloud_image_operator::{
    api_server::Connections,
    engine::pace,
    kinds::{KINDS, Kind},
};
use futures::StreamExt;
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, GroupVersionKind},
    runtime::watcher,
};
use serde_json::{Value, json};
use std::{net::SocketAddr, pin::pin, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use vendor_simulator::{ClockChange, Simulator};

/// How long a test waits for what must happen before it fails; much longer than it takes.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// As if the vendors took these for images of ECS.
const FITTING: &[(&str, &str)] = &[("ImageExport", "AospImage"), ("BatchComputeImage", "ImageComponent")];

/// How often a condition that nobody tells of is looked at.
const GLANCE: Duration = Duration::from_millis(50);

/// Everything of one test.
pub struct World {
    /// Talks to the API server as the test.
    pub client: Client,
    /// The namespace, named like the world.
    pub namespace: String,
    /// The vendors.
    pub vendor: Simulator,
    /// How far apart the operator's looks are that wait for a vendor; for the next one that is started.
    pub beat: Duration,
    /// Which kinds the next operator that is started within the test looks after.
    pub kinds: &'static [&'static dyn Kind],
    /// Which kinds' references take which kinds' objects besides those that fit, for the next operator that is started within
    /// the test.
    pub fitting: &'static [(&'static str, &'static str)],
    /// As whom the next operator that is started within the test acts; `None`: as the ServiceAccount of the manifests,
    /// with the rights that those give it.
    pub operator_user: Option<String>,
    operator: Option<Operator>,
}

impl World {
    /// A namespace with a Secret and the CloudAccount `default`, vendors that know it, and a running operator.
    pub async fn new(name: &str) -> Self {
        let mut world = Self::with_account(name).await;
        world.start_operator().await;
        world
    }

    /// The same without an operator.
    pub async fn with_account(name: &str) -> Self {
        let world = Self::empty(name).await;
        world.create(secret("aliyun")).await;
        world.create(account("default", world.endpoint())).await;
        world
    }

    /// The same namespace with vendors of its own, whose ids differ from all others' that have another `seed`. The
    /// operator is the first world's.
    pub async fn beside(&self, seed: u64) -> Self {
        let vendor = simulator().await;
        vendor.configure(|settings| settings.seed = seed);
        let (client, namespace) = (self.client.clone(), self.namespace.clone());
        Self {
            client,
            namespace,
            vendor,
            beat: self.beat,
            kinds: self.kinds,
            fitting: self.fitting,
            operator_user: None,
            operator: None,
        }
    }

    /// A namespace with a Secret and the CloudAccount `default` at Volcengine, whose clock stands still, and a running
    /// operator that looks every second.
    pub async fn at_volcengine(name: &str) -> Self {
        let mut world = Self::empty(name).await;
        world.beat = Duration::from_secs(1);
        world.freeze();
        world.create(secret("volcengine")).await;
        world.create(volcengine_account("default", world.volcengine_endpoint())).await;
        world.start_operator().await;
        world
    }

    /// An empty namespace and the vendors.
    pub async fn empty(name: &str) -> Self {
        Self::empty_at(plane::client(&format!("test/{name}"), None).await, name).await
    }

    /// The same at another control plane than the one that tests share.
    pub async fn empty_at(client: Client, name: &str) -> Self {
        plane::show_logs();
        // A test that does a thousand things at once has no thousand connections.
        let client = Connections::default().share(&client);
        let vendor = simulator().await;
        let world = Self {
            client,
            namespace: name.into(),
            vendor,
            beat: pace::BEAT,
            kinds: KINDS,
            fitting: FITTING,
            operator_user: None,
            operator: None,
        };
        world.create(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })).await;
        world
    }

    // ---- the operator ------------------------------------------------------------------------------------------

    /// Starts the operator within the test, for this namespace.
    pub async fn start_operator(&mut self) {
        self.start_operator_with(&[], &[]).await;
    }

    /// Starts the operator within the test, for this namespace and others, and with more addresses that accounts may
    /// name than the simulated vendors'.
    pub async fn start_operator_with(&mut self, namespaces: &[&str], endpoints: &[&str]) {
        assert!(self.operator.is_none(), "one operator for each world");
        let client = plane::operator_client(&self.operator_name(), self.operator_user.as_deref()).await;
        let all = |own: Vec<String>, more: &[&str]| {
            own.into_iter().chain(more.iter().map(|&more| more.to_owned())).collect::<Vec<_>>()
        };
        let namespaces = all(vec![self.namespace.clone()], namespaces);
        self.operator = Some(Operator::start(
            client,
            namespaces,
            &all(self.endpoints(), endpoints),
            self.beat,
            self.kinds,
            self.fitting,
        ));
    }

    /// Starts the operator within the test, with a way to the API server of its own that can go silent.
    pub async fn start_operator_behind_a_proxy(&mut self) -> Proxy {
        assert!(self.operator.is_none(), "one operator for each world");
        let (client, proxy) = plane::client_behind_a_proxy(&self.operator_name()).await;
        let namespaces = vec![self.namespace.clone()];
        self.operator =
            Some(Operator::start(client, namespaces, &self.endpoints(), self.beat, self.kinds, self.fitting));
        proxy
    }

    /// Starts the operator within the test, with a record of what it asks the API server for.
    pub async fn start_counted_operator(&mut self) -> Requests {
        assert!(self.operator.is_none(), "one operator for each world");
        let (client, requests) = plane::counted_client(&self.operator_name()).await;
        let namespaces = vec![self.namespace.clone()];
        self.operator =
            Some(Operator::start(client, namespaces, &self.endpoints(), self.beat, self.kinds, self.fitting));
        requests
    }

    /// Starts the operator within the test, to which the answers to writes of objects come late.
    pub async fn start_slow_operator(&mut self, delay: Duration) {
        assert!(self.operator.is_none(), "one operator for each world");
        let client = plane::slow_client(&self.operator_name(), delay).await;
        let namespaces = vec![self.namespace.clone()];
        self.operator =
            Some(Operator::start(client, namespaces, &self.endpoints(), self.beat, self.kinds, self.fitting));
    }

    /// Ends the operator as SIGTERM does, and waits for it.
    pub async fn stop_operator(&mut self) {
        let operator = self.operator.take().expect("an operator runs");
        operator.stop().await.expect("the operator ends without an error");
    }

    /// Starts the operator as a program, for this namespace. `grace`: how long it may take to end after SIGTERM;
    /// `None`: it is killed.
    pub fn start_program(&self, grace: Option<Duration>) -> Program {
        self.start_program_with(&[], grace)
    }

    /// The same with at most so many files and connections open.
    pub fn start_program_with_files(&self, files: usize) -> Program {
        let arguments: Vec<_> = ["--namespace".to_owned(), self.namespace.clone()]
            .into_iter()
            .chain(self.endpoints().iter().map(|endpoint| format!("--allow-endpoint={endpoint}")))
            .collect();
        Program::start_in(&[("FILES", &files.to_string())], &plane::operator_kubeconfig(), &arguments, None)
    }

    /// The same with more arguments.
    pub fn start_program_with(&self, arguments: &[&str], grace: Option<Duration>) -> Program {
        Program::start(&self.namespace, &self.endpoints(), arguments, grace)
    }

    /// The same with environment variables.
    pub fn start_program_in(
        &self,
        environment: &[(&str, &str)],
        arguments: &[&str],
        grace: Option<Duration>,
    ) -> Program {
        let namespace = format!("--namespace={}", self.namespace);
        let endpoints = self.endpoints().into_iter().map(|endpoint| format!("--allow-endpoint={endpoint}"));
        let more = arguments.iter().map(|&argument| argument.to_owned());
        let arguments: Vec<_> = [namespace].into_iter().chain(endpoints).chain(more).collect();
        Program::start_in(environment, &plane::operator_kubeconfig(), &arguments, grace)
    }

    /// Starts the operator as a program that acts as another `user`.
    pub fn start_program_as(&self, user: &str, arguments: &[&str], grace: Option<Duration>) -> Program {
        let kubeconfig = plane::kubeconfig_as(user);
        let more = ["--namespace", &self.namespace].into_iter().chain(arguments.iter().copied());
        let arguments: Vec<_> = more.map(str::to_owned).collect();
        Program::start_at(&kubeconfig, &arguments, grace)
    }

    fn operator_name(&self) -> String {
        format!("operator/{}", self.namespace)
    }

    // ---- the vendors -------------------------------------------------------------------------------------------

    /// Where Alibaba Cloud ECS is.
    pub fn endpoint(&self) -> String {
        url(self.vendor.addresses().aliyun_ecs)
    }

    /// Where Volcengine is.
    pub fn volcengine_endpoint(&self) -> String {
        url(self.vendor.addresses().volcengine)
    }

    /// Where all vendors are.
    pub fn endpoints(&self) -> Vec<String> {
        Self::endpoints_of(&self.vendor)
    }

    /// Where all of these vendors are.
    pub fn endpoints_of(vendor: &Simulator) -> Vec<String> {
        let addresses = vendor.addresses();
        [addresses.aliyun_ecs, addresses.batchcompute, addresses.volcengine, addresses.zstack].map(url).into()
    }

    /// What takes the vendors a minute takes a second.
    pub fn quicken(&self) {
        Self::quicken_at(&self.vendor);
    }

    /// What takes these vendors a minute takes a second.
    pub fn quicken_at(vendor: &Simulator) {
        vendor.configure(|settings| {
            settings.volcengine.queue_seconds = 0.5;
            settings.volcengine.build_seconds = 1.5;
            settings.volcengine.export_queue_seconds = 0.5;
            settings.volcengine.export_seconds = 1.5;
            settings.aliyun_ecs.copy_seconds = 1.5;
            settings.aliyun_ecs.execution_seconds = 2.0;
            settings.aliyun_ecs.cancelling_seconds = 0.2;
            settings.zstack.create_seconds = 2.0;
            settings.zstack.operation_seconds = 0.2;
        });
    }

    /// Lets the vendors' work stand still, until their clock is advanced or runs again.
    pub fn freeze(&self) {
        self.run(0.0);
    }

    /// Lets the vendors' clock run, so many seconds in one.
    pub fn run(&self, speed: f64) {
        let change = ClockChange { speed: Some(speed), ..ClockChange::default() };
        self.vendor.set_clock(&change).expect("a speed that a clock can have");
    }

    /// How many calls of the action reached the vendors.
    pub fn calls(&self, action: &str) -> usize {
        self.vendor.ledger().calls_of(action).count()
    }

    /// How many things the vendors made, changed or deleted for the action.
    pub fn effects(&self, action: &str) -> usize {
        self.vendor.ledger().effects_of(action).count()
    }

    /// Waits until the API server lets `user` change an object's annotations, or does not any more.
    pub async fn until_may_patch(&self, user: &str, kind: &str, name: &str, may: bool) {
        let client = plane::client(&format!("test/{}", self.namespace), Some(user)).await;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cloudimages.dev", "v1alpha1", kind));
        let api = Api::<DynamicObject>::namespaced_with(client, &self.namespace, &resource);
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { "tried": "yes" } } }));
        let end = Instant::now() + PATIENCE;
        while api.patch(name, &params, &patch).await.is_ok() != may {
            assert!(Instant::now() < end, "in vain waited for the rights of {user}");
            sleep(GLANCE).await;
        }
    }

    /// Has the API server refuse every status of this namespace's `resource` for which the CEL rule does not hold, with 422,
    /// and waits until it does so to one of `kind`. Another rule of the same name takes its place.
    pub async fn refuse_statuses(&self, resource: &str, rule: &str) {
        let name = format!("{}-statuses", self.namespace);
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": self.namespace } },
                    "resourceRules": [{
                        "apiGroups": ["cloudimages.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
                        "resources": [format!("{resource}/status")],
                    }],
                },
                "validations": [{ "expression": rule, "message": "the test's policy" }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        });
        self.create(policy).await;
        self.create(binding).await;
    }

    /// Ends [`World::refuse_statuses`].
    pub async fn accept_statuses(&self) {
        let name = format!("{}-statuses", self.namespace);
        for kind in ["ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"] {
            self.delete(kind, &name).await;
        }
    }

    /// Waits until the API server takes a status, which is not stored, or does not any more.
    pub async fn until_takes_status(&self, kind: &str, name: &str, status: Value, takes: bool) {
        let params = PatchParams { dry_run: true, ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "status": status }));
        let end = Instant::now() + PATIENCE;
        while self.api(kind).patch_status(name, &params, &patch).await.is_ok() != takes {
            assert!(Instant::now() < end, "in vain waited for the policy");
            sleep(GLANCE).await;
        }
    }

    /// Waits for something that is not an object of the API server's.
    pub async fn until_true(&self, what: &str, met: impl FnMut() -> bool) {
        assert!(until(met).await, "in vain waited until {what}; calls: {:#?}", self.call_log());
    }

    /// The ledger in short lines, for failures.
    pub fn call_log(&self) -> Vec<String> {
        let ledger = self.vendor.ledger();
        let line = |call: &vendor_simulator::Call| {
            let effects = ledger.effects.iter().filter(|effect| effect.call == call.sequence).count();
            let (status, code) = (call.status.unwrap_or_default(), call.code.as_deref().unwrap_or_default());
            format!("{} {} {status} {code} fault {:?}, {effects} effects", call.time, call.action, call.fault)
        };
        ledger.calls.iter().map(line).collect()
    }

    // ---- the API server ----------------------------------------------------------------------------------------

    /// Creates an object, in this namespace unless it names another.
    pub async fn create(&self, object: Value) -> Value {
        self.try_create(object).await.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Creates an object, or gives the API server's sentence why not.
    pub async fn try_create(&self, object: Value) -> Result<Value, String> {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&self.namespace).to_owned();
        let object: DynamicObject = serde_json::from_value(object).expect("a Kubernetes object");
        let created = self.api_in(&kind, &namespace).create(&PostParams::default(), &object).await;
        answer(created)
    }

    /// Changes an object by a JSON merge patch.
    pub async fn patch(&self, kind: &str, name: &str, patch: Value) -> Value {
        self.try_patch(kind, name, patch).await.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Changes an object by a JSON merge patch, or gives the API server's sentence why not.
    pub async fn try_patch(&self, kind: &str, name: &str, patch: Value) -> Result<Value, String> {
        answer(self.api(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
    }

    /// Changes an object by a JSON patch.
    pub async fn json_patch(&self, kind: &str, name: &str, patch: Value) -> Value {
        self.try_json_patch(kind, name, patch).await.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Changes an object by a JSON patch, or gives the API server's sentence why not.
    pub async fn try_json_patch(&self, kind: &str, name: &str, patch: Value) -> Result<Value, String> {
        let patch: json_patch::Patch = serde_json::from_value(patch).expect("a JSON patch");
        answer(self.api(kind).patch(name, &PatchParams::default(), &Patch::Json::<()>(patch)).await)
    }

    /// Changes an object's status by a JSON merge patch.
    pub async fn patch_status(&self, kind: &str, name: &str, status: Value) -> Value {
        self.try_patch_status(kind, name, status).await.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Takes the bounds off places in a CRD's schema, as an older or newer version of it may not have them. The API server goes
    /// by it a moment later.
    pub async fn loosen(&self, plural: &str, places: &[&str]) {
        let name = format!("{plural}.cloudimages.dev");
        loop {
            let crd = self.get("CustomResourceDefinition", &name).await.expect("the CRD");
            let mut versions = crd["spec"]["versions"].clone();
            for place in places {
                let schema = versions[0].pointer_mut(place).expect("a part of the schema");
                *schema = json!({ "x-kubernetes-preserve-unknown-fields": true });
            }
            // Others may loosen other places of it.
            let version = &crd["metadata"]["resourceVersion"];
            let patch =
                json!({ "metadata": { "resourceVersion": version }, "spec": { "versions": versions } });
            match self.try_patch("CustomResourceDefinition", &name, patch).await {
                Ok(_) => return,
                Err(refusal) => assert!(refusal.contains("has been modified"), "{refusal}"),
            }
        }
    }

    /// Changes an object's status by a JSON merge patch, or gives the API server's sentence why not.
    pub async fn try_patch_status(&self, kind: &str, name: &str, status: Value) -> Result<Value, String> {
        let patch = Patch::Merge(json!({ "status": status }));
        answer(self.api(kind).patch_status(name, &PatchParams::default(), &patch).await)
    }

    /// Sets an annotation.
    pub async fn annotate(&self, kind: &str, name: &str, key: &str, value: &str) -> Value {
        self.patch(kind, name, json!({ "metadata": { "annotations": { key: value } } })).await
    }

    /// Asks the operator to look now.
    pub async fn request(&self, kind: &str, name: &str, value: &str) {
        self.annotate(kind, name, "reconcile.cloudimages.dev/requested-at", value).await;
    }

    /// Begins the deletion of an object.
    pub async fn delete(&self, kind: &str, name: &str) {
        self.api(kind).delete(name, &DeleteParams::default()).await.expect("the object is deleted");
    }

    /// Begins the deletion of an object that may be gone.
    pub async fn try_delete(&self, kind: &str, name: &str) {
        let _ = self.api(kind).delete(name, &DeleteParams::default()).await;
    }

    /// The object as it is now; `None`: it does not exist.
    pub async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.api(kind).get_opt(name).await.expect("the API server answers").map(plain)
    }

    /// All objects of a kind in this namespace.
    pub async fn list(&self, kind: &str) -> Vec<Value> {
        let list = self.api(kind).list(&ListParams::default()).await.expect("the API server answers");
        list.items.into_iter().map(plain).collect()
    }

    /// Waits until the object is as it should be, and gives it. `what` completes "in vain waited until".
    pub async fn until(&self, kind: &str, name: &str, what: &str, met: impl Fn(&Value) -> bool) -> Value {
        let mut seen = Value::Null;
        let met = self.watch(kind, name, |object| {
            seen = object.unwrap_or(Value::Null);
            !seen.is_null() && met(&seen)
        });
        let met = met.await;
        assert!(
            met,
            "in vain waited until {what}; {kind} {name} is {seen:#}; vendor calls: {:#?}",
            self.call_log()
        );
        seen
    }

    /// Waits until the object is Ready for its present spec.
    pub async fn until_ready(&self, kind: &str, name: &str) -> Value {
        self.until(kind, name, "it is Ready", is_ready).await
    }

    /// Waits until a condition has this status and reason, and gives its message.
    pub async fn until_condition(
        &self,
        kind: &str,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> String {
        let is = |object: &Value| {
            let condition = condition(object, type_);
            condition["status"] == status
                && condition["reason"] == reason
                && condition["observedGeneration"] == object["metadata"]["generation"]
        };
        let object = self.until(kind, name, &format!("{type_} is {status}, {reason}"), is).await;
        condition(&object, type_)["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until a CRD can be used.
    pub async fn until_established(&self, name: &str) {
        let established = |crd: &Value| condition(crd, "Established")["status"] == "True";
        self.until("CustomResourceDefinition", name, "it is established", established).await;
    }

    /// Waits until the object does not exist any more.
    pub async fn until_gone(&self, kind: &str, name: &str) {
        let mut last = None;
        let gone = self.watch(kind, name, |object| {
            last = object;
            last.is_none()
        });
        let gone = gone.await;
        assert!(gone, "in vain waited until it is gone; {kind} {name} is {last:#?}");
    }

    async fn watch(&self, kind: &str, name: &str, mut met: impl FnMut(Option<Value>) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut versions = pin!(watcher::watch_object(self.api(kind), name));
        while let Ok(Some(version)) = timeout_at(end, versions.next()).await {
            // A watch that breaks is started again by itself.
            if version.is_ok_and(|object| met(object.map(plain))) {
                return true;
            }
        }
        false
    }

    /// The Events about an object of this namespace.
    pub async fn events(&self, name: &str) -> Vec<Value> {
        let mut events = self.list("Event").await;
        events.retain(|event| event["regarding"]["name"] == name);
        events
    }

    /// Waits until there are so many Events about an object, and gives them, oldest first.
    pub async fn until_events(&self, name: &str, count: usize) -> Vec<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut events = self.events(name).await;
            if events.len() >= count {
                // A series that goes on is written again, so what was written last need not be what came last.
                events.sort_by_key(|event| event["eventTime"].as_str().map(str::to_owned));
                return events;
            }
            assert!(
                Instant::now() < end,
                "in vain waited for {count} Events about {name}; there are {events:#?}"
            );
            sleep(GLANCE).await;
        }
    }

    /// Waits for the Event with this reason about an object, whatever others there are, and gives it: several objects
    /// can have borne the name, and which of their Events is written first is nobody's promise.
    pub async fn until_event(&self, name: &str, reason: &str) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let events = self.events(name).await;
            if let Some(event) = events.iter().find(|event| event["reason"] == reason) {
                return event.clone();
            }
            assert!(
                Instant::now() < end,
                "in vain waited for an Event {reason} about {name}; there are {events:#?}"
            );
            sleep(GLANCE).await;
        }
    }

    /// The operator's requests that wrote this resource in this namespace or for the whole cluster, such as
    /// `imagecomponents`.
    pub fn writes(&self, resource: &str) -> Vec<Write> {
        let mut writes = self.all_writes(resource);
        writes.retain(|write| write.user_agent == self.operator_name());
        writes
    }

    /// Everybody's requests that wrote this resource in this namespace or for the whole cluster.
    pub fn all_writes(&self, resource: &str) -> Vec<Write> {
        let mut writes = plane::writes();
        writes.retain(|write| {
            let Target { resource: written, namespace, .. } = &write.object;
            written == resource && namespace.as_ref().is_none_or(|namespace| *namespace == self.namespace)
        });
        writes
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        self.api_in(kind, &self.namespace)
    }

    fn api_in(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = match kind {
            "Namespace" | "Secret" | "ConfigMap" => ("", "v1"),
            "Event" => ("events.k8s.io", "v1"),
            "Lease" => ("coordination.k8s.io", "v1"),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", "v1"),
            "ClusterRole" | "ClusterRoleBinding" | "Role" | "RoleBinding" => {
                ("rbac.authorization.k8s.io", "v1")
            }
            "GitRepository" => ("source.toolkit.fluxcd.io", "v1"),
            "Kustomization" => ("kustomize.toolkit.fluxcd.io", "v1"),
            "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding" => {
                ("admissionregistration.k8s.io", "v1")
            }
            _ => ("cloudimages.dev", "v1alpha1"),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match kind {
            "Namespace"
            | "CustomResourceDefinition"
            | "ClusterCloudAccount"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding" => Api::all_with(self.client.clone(), &resource),
            _ => Api::namespaced_with(self.client.clone(), namespace, &resource),
        }
    }
}

/// Waits for a condition that nobody tells of; false when it was in vain.
pub async fn until(mut met: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while !met() {
        if Instant::now() >= end {
            return false;
        }
        sleep(GLANCE).await;
    }
    true
}

async fn simulator() -> Simulator {
    let free = vendor_simulator::Options::default();
    vendor_simulator::start(free).await.expect("the simulator starts")
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn plain(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None; // nobody asks for them, and failures are shorter without
    serde_json::to_value(object).expect("an object is JSON")
}

fn answer(answer: Result<DynamicObject, kube::Error>) -> Result<Value, String> {
    match answer {
        Ok(object) => Ok(plain(object)),
        Err(kube::Error::Api(status)) => Err(status.message),
        Err(error) => panic!("the API server does not answer: {error}"),
    }
}
