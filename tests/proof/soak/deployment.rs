//! The operator as a Deployment runs it: two replicas, of which one leads at a time, as its Lease says.

use crate::{
    harness::World,
    proof::{gate::Gate, life::Operator, proxies::Proxies},
};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// Their hosts, whose names begin those under which they hold the Lease.
const HOSTS: [&str; 2] = ["one", "two"];

/// The Lease, and a Role and RoleBinding.
const NAME: &str = "cloud-image-operator";

/// Both, and whoever starts them again.
pub struct Deployment {
    replicas: [Operator; 2],
    leases: Api<Lease>,
}

impl Deployment {
    /// For a namespace, in which they have their Lease; they do not run yet.
    pub async fn new(world: &World, proxies: &Proxies) -> Self {
        // The manifests give it this right in the operator's own namespace.
        let rules = json!([
            { "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"] },
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "resourceNames": [NAME],
                "verbs": ["get", "update"],
            },
        ]);
        let api = "rbac.authorization.k8s.io";
        let role = json!({
            "apiVersion": format!("{api}/v1"), "kind": "Role", "metadata": { "name": NAME }, "rules": rules,
        });
        world.create(role).await;
        let binding = json!({
            "apiVersion": format!("{api}/v1"),
            "kind": "RoleBinding",
            "metadata": { "name": NAME },
            "roleRef": { "apiGroup": api, "kind": "Role", "name": NAME },
            "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAME }],
        });
        world.create(binding).await;
        let replicas = HOSTS.map(|host| Operator::replica(host, &world.namespace, proxies));
        Self { replicas, leases: Api::namespaced(world.client.clone(), &world.namespace) }
    }

    /// Starts both.
    pub fn start(&mut self, gate: &Gate) {
        self.replicas.iter_mut().for_each(|replica| replica.start(gate));
    }

    /// The one that leads, or led last.
    pub async fn leader(&mut self) -> &mut Operator {
        let holder = self.leases.get_opt(NAME).await.ok().flatten().and_then(|lease| lease.spec);
        let holder = holder.and_then(|spec| spec.holder_identity).unwrap_or_default();
        let is_second = holder.split('_').next() == Some(HOSTS[1]);
        &mut self.replicas[usize::from(is_second)]
    }

    /// Until a replica has renewed the Lease, from now on.
    pub fn led(&self) -> impl Future<Output = ()> + use<> {
        let (leases, since) = (self.leases.clone(), Timestamp::now());
        async move {
            loop {
                let spec = leases.get_opt(NAME).await.ok().flatten().and_then(|lease| lease.spec);
                let held = spec.filter(|spec| spec.holder_identity.as_ref().is_some_and(|it| !it.is_empty()));
                if held.and_then(|spec| spec.renew_time).is_some_and(|renewed| renewed.0 >= since) {
                    return;
                }
                sleep(Duration::from_millis(250)).await;
            }
        }
    }

    /// Lets both go on, whichever was stopped.
    pub fn wake(&mut self) {
        self.replicas.iter_mut().for_each(Operator::go_on);
    }

    /// SIGKILL to both.
    pub async fn kill(&mut self) {
        for replica in &mut self.replicas {
            replica.kill().await;
        }
    }

    /// Starts each again whenever it ends by itself, as a kubelet does.
    pub async fn keep(&mut self, gate: &Gate) {
        let [one, two] = &mut self.replicas;
        tokio::join!(one.keep(gate), two.keep(gate));
    }

    /// All that both logged.
    pub fn log(&self) -> String {
        let logs = HOSTS.iter().zip(&self.replicas);
        logs.map(|(host, replica)| format!("---- replica {host}\n{}\n", replica.log())).collect()
    }
}
