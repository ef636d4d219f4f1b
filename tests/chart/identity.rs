//! The operator as the chart runs it: with exactly the arguments, environment and rights that the release gives it, for
//! the whole cluster and for two namespaces, and never as one who may do everything.

use super::{
    helm::{CHART, Helm, run},
    kubelet::Kubelet,
    reader::Reader,
};
use std::{fs, ops::Range, path::Path, sync::Arc};
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

    /// A reader of the documentation with one of the Helms.
    fn reader(&self, number: usize) -> Arc<Reader> {
        let helm = &Helm::both(self.plane.kubeconfig())[number - 3];
        Arc::new(Reader::new(&self.kubectl, helm, aim(&self.vendor)))
    }

    /// Types what a page says.
    async fn types(
        &self,
        reader: &Arc<Reader>,
        file: &'static str,
        section: &'static str,
        blocks: Range<usize>,
    ) -> String {
        let reader = reader.clone();
        let typed = spawn_blocking(move || reader.types(file, section, blocks)).await;
        typed.unwrap_or_else(|_| panic!("{}", self.kubelet.logs()))
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
const IMAGES: &str = "imagedistributions,aliyunimagecopies,aospimages,batchcomputeimages,imagebuilds,imagecomponents,imageexports,imagepipelines,rootvolumetemplates";

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

/// The pages on installing, upgrading and uninstalling, typed from the first line to the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installed_for_the_cluster_as_the_documentation_says_every_sample_lives() {
    let cluster = Cluster::start().await;
    let reader = cluster.reader(4);
    let installing =
        |section: &'static str, blocks| cluster.types(&reader, "docs/installing.md", section, blocks);
    let uninstalling = |section: &'static str| cluster.types(&reader, "docs/uninstalling.md", section, 0..1);
    installing("With Helm", 0..1).await;
    // Nothing is there yet, and all goes.
    uninstalling("Keep the images").await;
    uninstalling("The order").await;
    assert_eq!(cluster.kubectl(&["get", "crds", "-o=name"]).await, "");

    installing("With Helm", 1..2).await;
    cluster.until_ready("images").await;
    // Once more: nothing is written.
    let apply = ["apply", "--server-side", "--force-conflicts", "-k"];
    let samples = reader.file("deploy/samples");
    let apply = [&apply[..], &[samples.to_str().expect("a text")]].concat();
    let all =
        ["get", "namespaces,secrets,cloudimages", "--namespace=images", "--show-managed-fields", "-o=yaml"];
    cluster.kubectl(&apply).await;
    let mut tries = 0;
    loop {
        let before = cluster.kubectl(&all).await;
        cluster.kubectl(&apply).await;
        let after = cluster.kubectl(&all).await;
        if after == before {
            break;
        }
        // The operator's own last words, such as how many images an account has, may come in between.
        tries += 1;
        assert!(tries < 5, "applied once more, it is another: {before}\n{after}");
    }

    // A newer chart, whose CRD has a field more. One replica: the new one is ready while the old one leads, and then
    // takes over.
    newer(&reader.file("charts/cloud-image-operator"));
    cluster.types(&reader, "docs/upgrading.md", "Upgrading", 0..1).await;
    assert_eq!(cluster.kubelet.ran().len(), 3, "{}", cluster.kubelet.logs());
    let note = r#"{"spec":{"forProvider":{"newInThisVersion":"usable"}}}"#;
    let hello = ["imagecomponent", "hello", "--namespace=images"];
    cluster.kubectl(&[&["patch"], &hello[..], &["--type=merge", "-p", note]].concat()).await;
    let path = "-o=jsonpath={.spec.forProvider.newInThisVersion}";
    assert_eq!(cluster.kubectl(&[&["get"], &hello[..], &[path]].concat()).await, "usable");
    cluster.until_ready("images").await;

    cluster.kubectl(&["delete", IMAGES, "--all", "--namespace=images", PATIENCE]).await;
    assert_eq!(cluster.left(), Vec::<String>::new());
    cluster.apply_samples("images").await;
    cluster.until_ready("images").await;
    nothing_was_refused(&cluster, 1, false);
    cluster.kubectl(&["delete", "namespace", "images", PATIENCE]).await;
    assert_eq!(cluster.left(), Vec::<String>::new());
    nothing_was_refused(&cluster, 1, true);

    // What is kept is there when operator, objects and kinds are gone.
    cluster.apply_samples("images").await;
    cluster.until_ready("images").await;
    cluster.types(&reader, "docs/upgrading.md", "Upgrading", 1..2).await;
    cluster.types(&reader, "docs/backup.md", "What to back up", 0..1).await;
    let made = cluster.left().len();
    uninstalling("Keep the images").await;
    uninstalling("The order").await;
    assert_eq!(cluster.kubectl(&["get", "crds", "-o=name"]).await, "");
    assert!(made > 3 && cluster.left().len() == made, "{:?}", cluster.left());

    installing("With plain manifests", 0..1).await;
    installing("With plain manifests", 1..3).await;
    let arguments = "-o=jsonpath={.spec.template.spec.containers[0].args}";
    let namespace = format!("--namespace={NAMESPACE}");
    let changed = cluster.kubectl(&["get", "deployment", NAMESPACE, &namespace, arguments]).await;
    assert!(changed.contains("--allow-endpoint=http://10.0.0.2:8080"), "{changed}");
    installing("CRDs", 0..1).await;
}

/// Makes another version of a chart, whose ImageComponents have a field more.
fn newer(chart: &Path) {
    let change = |file: &str, from: &str, to: &str| {
        let file = chart.join(file);
        let text = fs::read_to_string(&file).expect("a text");
        assert!(text.contains(from), "{}", file.display());
        fs::write(&file, text.replacen(from, to, 1)).expect("a file");
    };
    for field in ["version", "appVersion"] {
        change(
            "Chart.yaml",
            &format!("\n{field}: {}", env!("CARGO_PKG_VERSION")),
            &format!("\n{field}: 99.0.0"),
        );
    }
    let field = "newInThisVersion: {type: string, maxLength: 8}";
    let known = "                  componentVersion:\n";
    change(
        "templates/crds/imagecomponents.cloudimages.dev.yaml",
        known,
        &format!("                  {field}\n{known}"),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installed_for_two_namespaces_every_sample_lives_and_their_deletion_ends() {
    let cluster = Cluster::start().await;
    for namespace in ["images", "team", "outside"] {
        cluster.kubectl(&["create", "namespace", namespace]).await;
    }
    let reader = cluster.reader(3);
    cluster.types(&reader, "docs/installing.md", "With Helm", 0..1).await;
    cluster.types(&reader, "docs/uninstalling.md", "The order", 0..1).await;
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
            nothing_was_refused(&cluster, 1, false);
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
    nothing_was_refused(&cluster, 1, true);
}

/// The rights are enough: no request of the pods from the one of this number on was forbidden. (A release that is uninstalled
/// takes the rights away while its pod ends.) A namespace that ends takes no Events, whoever writes them.
fn nothing_was_refused(cluster: &Cluster, first: usize, but_events: bool) {
    for ran in cluster.kubelet.ran().iter().skip(first) {
        let log = fs::read_to_string(&ran.log).expect("a log");
        let refused = log.lines().filter(|line| line.to_lowercase().contains("forbidden"));
        let refused: Vec<_> =
            refused.filter(|line| !(but_events && line.contains("an Event could not be written"))).collect();
        assert!(refused.is_empty(), "{}: {refused:#?}", ran.pod);
    }
}
