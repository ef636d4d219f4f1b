//! The operator as the chart runs it: with exactly the arguments, environment and rights that the release gives it, for
//! the whole cluster and for two namespaces, and never as one who may do everything.

use super::{
    helm::{CHART, Helm, run},
    kubelet::Kubelet,
};
use std::fs;
use tokio::task::spawn_blocking;
use vendor_simulator::{Change, ClockChange, Simulator};
use xtask::{controlplane::ControlPlane, kubectl::Kubectl};

const NAMESPACE: &str = "cloud-image-operator";
const PATIENCE: &str = "--timeout=300s";

/// A cluster with a kubelet and vendors.
struct Cluster {
    kubectl: Kubectl,
    vendor: Simulator,
    kubelet: Kubelet,
    // The last to go.
    plane: ControlPlane,
}

impl Cluster {
    async fn start() -> Self {
        let plane = spawn_blocking(|| ControlPlane::start().expect("the control plane starts"))
            .await
            .expect("no panic");
        let vendor = vendor_simulator::start(vendor_simulator::Options::default())
            .await
            .expect("the simulator starts");
        let change = ClockChange { speed: Some(20.0), ..ClockChange::default() };
        vendor.set_clock(&change).expect("a speed that a clock can have");
        let aimed = aim(&vendor);
        let kubelet = Kubelet::start(plane.kubeconfig(), NAMESPACE, aimed).await;
        let kubectl = Kubectl::new(plane.kubeconfig()).expect("kubectl");
        Self { kubectl, vendor, kubelet, plane }
    }

    /// What kubectl says.
    async fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let kubectl = self.kubectl.clone();
        let said = spawn_blocking(move || run(kubectl.command().args(&arguments))).await.expect("no panic");
        match said {
            Ok(said) => said,
            Err(error) => {
                let objects = self.kubectl.run(["get", "cloudimages", "-A", "-o=yaml"]).unwrap_or_default();
                panic!("{error}\n{objects}\n{}", self.kubelet.logs())
            }
        }
    }

    async fn helm(&self, number: usize, arguments: &[&str]) {
        let helm = Helm::both(self.plane.kubeconfig())[number - 3].clone();
        let mut arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        arguments.push(format!("--namespace={NAMESPACE}"));
        let done = spawn_blocking(move || helm.run(&arguments)).await.expect("no panic");
        done.unwrap_or_else(|error| panic!("{error}\n{}", self.kubelet.logs()));
    }

    /// Applies the samples, aimed at the vendors, in some namespace.
    async fn apply_samples(&self, namespace: &str) {
        let rendered = self.kubectl(&["kustomize", "deploy/samples"]).await;
        let rendered =
            aim(&self.vendor)(&rendered).replace("namespace: images", &format!("namespace: {namespace}"));
        let rendered = rendered.replace("\n  name: images\n", &format!("\n  name: {namespace}\n"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("samples.yaml");
        fs::write(&file, rendered).expect("a file");
        self.kubectl(&["apply", "--server-side", "-f", file.to_str().expect("a text")]).await;
    }

    /// Waits until everything of a namespace is Ready.
    async fn until_ready(&self, namespace: &str) {
        let namespace = format!("--namespace={namespace}");
        let wait = ["wait", "--for=condition=Ready", PATIENCE, "--all", &namespace];
        self.kubectl(&[&wait[..], &["cloudaccounts"]].concat()).await;
        self.kubectl(&[&wait[..], &[IMAGES]].concat()).await;
    }

    /// What the vendors made and have not deleted; exported files are the user's.
    fn left(&self) -> Vec<String> {
        let ledger = self.vendor.ledger();
        let deleted = |id: &str| {
            ledger.effects.iter().any(|effect| effect.change == Change::Deleted && effect.id == id)
        };
        let made = ledger.effects.iter().filter(|effect| effect.change == Change::Created);
        let made = made.filter(|effect| effect.action != "ExportImage" && !deleted(&effect.id));
        made.map(|effect| format!("{} by {}", effect.id, effect.action)).collect()
    }
}

/// Every image kind.
const IMAGES: &str = "aospimages,batchcomputeimages,imagecomponents,imageexports,rootvolumetemplates";

/// What a text says of the addresses of the simulator's container, with those of the vendors here.
fn aim(vendor: &Simulator) -> impl Fn(&str) -> String + Send + Sync + 'static {
    let addresses = vendor.addresses();
    let map = [
        (8801, addresses.volcengine),
        (8802, addresses.aliyun_ecs),
        (8803, addresses.batchcompute),
        (8804, addresses.zstack),
    ];
    move |text| {
        map.iter().fold(text.to_owned(), |text, (port, address)| {
            text.replace(&format!("127.0.0.1:{port}"), &address.to_string())
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installed_for_the_cluster_every_sample_lives_and_a_rolling_update_ends() {
    let cluster = Cluster::start().await;
    let install = [
        "install",
        NAMESPACE,
        CHART,
        "--create-namespace",
        "--set=simulator.enabled=true",
        "--wait",
        PATIENCE,
    ];
    cluster.helm(4, &install).await;
    cluster.apply_samples("images").await;
    cluster.until_ready("images").await;

    // One replica: the new one is ready while the old one leads, and then takes over.
    cluster
        .helm(
            4,
            &["upgrade", NAMESPACE, CHART, "--reuse-values", "--set=log.format=json", "--wait", PATIENCE],
        )
        .await;
    let deployment = format!("deployment/{NAMESPACE}");
    let namespace = format!("--namespace={NAMESPACE}");
    cluster.kubectl(&["rollout", "status", &deployment, &namespace, PATIENCE]).await;
    assert_eq!(cluster.kubelet.ran().len(), 2, "{}", cluster.kubelet.logs());

    cluster.kubectl(&["delete", IMAGES, "--all", "--namespace=images", PATIENCE]).await;
    assert_eq!(cluster.left(), Vec::<String>::new());
    cluster.apply_samples("images").await;
    cluster.until_ready("images").await;
    nothing_was_refused(&cluster, false);
    cluster.kubectl(&["delete", "namespace", "images", PATIENCE]).await;
    assert_eq!(cluster.left(), Vec::<String>::new());
    nothing_was_refused(&cluster, true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installed_for_two_namespaces_every_sample_lives_and_their_deletion_ends() {
    let cluster = Cluster::start().await;
    for namespace in ["images", "team", "outside"] {
        cluster.kubectl(&["create", "namespace", namespace]).await;
    }
    let watched = "--set=watchNamespaces={images,team}";
    let install = [
        "install",
        NAMESPACE,
        CHART,
        "--create-namespace",
        "--set=simulator.enabled=true",
        watched,
        "--wait",
        PATIENCE,
    ];
    cluster.helm(3, &install).await;
    for namespace in ["images", "team", "outside"] {
        cluster.apply_samples(namespace).await;
        if namespace == "images" {
            cluster.until_ready(namespace).await;
            nothing_was_refused(&cluster, false);
            // What only one object may work on is free for the next namespace.
            cluster.kubectl(&["delete", "namespace", namespace, PATIENCE]).await;
            assert_eq!(cluster.left(), Vec::<String>::new());
        }
    }
    cluster.until_ready("team").await;
    let phases = cluster
        .kubectl(&["get", IMAGES, "--namespace=outside", "-o=jsonpath={.items[*].status.phase}"])
        .await;
    assert_eq!(phases, "", "nobody looks after what is outside");
    // Not even a Secret there can be read.
    let account = format!("system:serviceaccount:{NAMESPACE}:{NAMESPACE}");
    for (namespace, may) in [("team", "yes"), ("outside", "no"), (NAMESPACE, "no")] {
        let ask = ["auth", "can-i", "list", "secrets", "--as", &account, "--namespace", namespace];
        let answer = run(cluster.kubectl.command().args(ask)).unwrap_or_else(|answer| answer);
        assert_eq!(answer.trim(), may, "{namespace}");
    }
    cluster.kubectl(&["delete", "namespace", "team", PATIENCE]).await;
    assert_eq!(cluster.left(), Vec::<String>::new());
    nothing_was_refused(&cluster, true);
}

/// The rights are enough: no request was forbidden. A namespace that ends takes no Events, whoever writes them.
fn nothing_was_refused(cluster: &Cluster, but_events: bool) {
    let logs = cluster.kubelet.logs();
    let refused = logs.lines().filter(|line| line.to_lowercase().contains("forbidden"));
    let refused: Vec<_> =
        refused.filter(|line| !(but_events && line.contains("an Event could not be written"))).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}
