//! What the chart renders: the same with both Helms, as the values say, and as linters like it.

use super::helm::{CHART, Helm, objects, run, the};
use clap::{Args, FromArgMatches};
use cloud_image_operator::{
    engine::telemetry::Events,
    kinds::{self, KINDS},
    run::{LogFormat, Options},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, process::Command};

/// Values that switch on what is off by default, and change what can be changed.
pub const ALL: &[&str] = &[
    "replicas=3",
    r#"watchNamespaces=["a","b"]"#,
    r#"allowEndpoints=["http://10.0.0.2:8080","https://[fd00::1]:8443","http://plain.example"]"#,
    r#"events="warnings""#,
    r#"log={"format":"json","filter":"debug"}"#,
    r#"proxy={"https":"http://proxy:3128","http":"http://proxy:3128","noProxy":"10.0.0.0/8"}"#,
    r#"extraArgs=["--log-format=text"]"#,
    r#"extraEnv=[{"name":"A","value":"b"}]"#,
    r#"extraEnvFrom=[{"secretRef":{"name":"more"}}]"#,
    r#"extraVolumes=[{"name":"v","emptyDir":{}}]"#,
    r#"extraVolumeMounts=[{"name":"v","mountPath":"/v"}]"#,
    r#"imagePullSecrets=[{"name":"pull"}]"#,
    r#"commonLabels={"team":"images"}"#,
    r#"priorityClassName="system-cluster-critical""#,
    r#"affinity={"nodeAffinity":{}}"#,
    r#"tolerations=[{"operator":"Exists"}]"#,
    r#"dnsConfig={"searches":["example"]}"#,
    r#"image.digest="sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef""#,
    "metrics.serviceMonitor.enabled=true",
    r#"metrics.serviceMonitor.interval="30s""#,
    "metrics.prometheusRule.enabled=true",
    "metrics.dashboard.enabled=true",
    r#"metrics.service.ipFamilyPolicy="PreferDualStack""#,
    "networkPolicy.enabled=true",
    r#"networkPolicy.metricsFrom=[{"namespaceSelector":{}}]"#,
    r#"accounts=[{"name":"zs","namespace":"a","spec":{"zstack":{"endpoint":"http://10.0.0.2:8080"}},"credentials":{"accountName":"admin","password":"x"}}]"#,
];

/// With the simulated vendors.
pub const SIMULATOR: &[&str] = &["simulator.enabled=true"];

/// Without what others may bring.
pub const ALONE: &[&str] = &[
    "leaderElection.enabled=false",
    "crds.install=false",
    "rbac.create=false",
    "serviceAccount.create=false",
];

fn operator(objects: &[Value]) -> &Value {
    the(objects, "Deployment", "")
        .pointer("/spec/template/spec/containers/0")
        .expect("the operator's container")
}

fn arguments(objects: &[Value]) -> BTreeSet<String> {
    let arguments = operator(objects)["args"].as_array().expect("arguments").iter();
    arguments.map(|argument| argument.as_str().expect("a text").to_owned()).collect()
}

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

/// What the operator makes of the arguments that values lead to.
#[test]
fn the_operator_takes_the_arguments_and_extra_ones_count_more() {
    let [_, helm] = Helm::both_alone();
    let taken = |values: &[&str]| {
        let rendered = helm.template(values);
        let arguments = operator(&rendered)["args"].as_array().expect("arguments").iter();
        let arguments: Vec<_> = arguments.filter_map(Value::as_str).map(str::to_owned).collect();
        let known = Options::augment_args(clap::Command::new("run"));
        let matches =
            known.try_get_matches_from(arguments).unwrap_or_else(|error| panic!("{values:?}: {error}"));
        Options::from_arg_matches(&matches).expect("its options")
    };
    for values in [&[][..], SIMULATOR, ALONE] {
        assert_eq!(taken(values).leader_elect, values != ALONE);
    }
    let all = taken(ALL);
    assert_eq!((all.namespaces.len(), all.allow_endpoints.len()), (2, 3), "{all:?}");
    assert_eq!(all.log_format, LogFormat::Text, "extraArgs say so");
    let again = taken(&[
        r#"extraArgs=["--leader-elect","--events=none","--metrics-addr=:9090","--metrics-accounts=1"]"#,
    ]);
    assert_eq!((again.events, again.metrics_accounts), (Events::None, 1));
    assert_eq!(again.metrics_addr, ":9090".parse().expect("an address"));
}

#[test]
fn both_helms_find_no_fault_and_render_the_same() {
    for values in [&[][..], ALL, SIMULATOR, ALONE] {
        let [three, four] = Helm::both_alone().map(|helm| {
            let set = values.iter().flat_map(|value| ["--set-json", *value]);
            let linted = helm.run(["lint", "--strict", CHART].into_iter().chain(set));
            assert!(linted.as_ref().is_ok_and(|said| said.contains("0 chart(s) failed")), "{linted:?}");
            let mut objects = helm.template(values);
            objects.sort_by_cached_key(Value::to_string);
            objects
        });
        assert_eq!(three, four, "{values:?}");
    }
}

#[test]
fn the_pod_is_hardened_and_told_what_the_values_say() {
    let [_, helm] = Helm::both_alone();
    let plain = helm.template(&[]);
    let deployment = the(&plain, "Deployment", "");
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = operator(&plain);
    assert_eq!(
        container["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
        })
    );
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"], json!({ "path": path, "port": "metrics" }));
    }
    assert_eq!(deployment["spec"]["strategy"]["type"], "RollingUpdate");
    let usual = ["run", "--metrics-addr=[::]:8080", "--log-format=text", "--events=all", "--leader-elect"];
    assert_eq!(arguments(&plain), set(&usual));
    let kinds: BTreeSet<_> = plain.iter().map(|object| object["kind"].as_str().unwrap_or_default()).collect();
    assert!(!kinds.contains("PodDisruptionBudget") && !kinds.contains("NetworkPolicy"), "{kinds:?}");

    let all = helm.template(ALL);
    let expected = [
        "run",
        "--metrics-addr=[::]:8080",
        "--log-format=json",
        "--log-format=text",
        "--events=warnings",
        "--leader-elect",
        "--namespace=a",
        "--namespace=b",
        "--allow-endpoint=http://10.0.0.2:8080",
        "--allow-endpoint=https://[fd00::1]:8443",
        "--allow-endpoint=http://plain.example",
    ];
    assert_eq!(arguments(&all), set(&expected));
    let container = operator(&all);
    let value = |name: &str| {
        let variables = container["env"].as_array().expect("variables");
        variables.iter().find(|variable| variable["name"] == name).map(|variable| variable["value"].clone())
    };
    for (name, expected) in
        [("RUST_LOG", "debug"), ("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "10.0.0.0/8"), ("A", "b")]
    {
        assert_eq!(value(name), Some(json!(expected)), "{name}");
    }
    assert!(container["image"].as_str().is_some_and(|image| image.contains("@sha256:0123")), "{container}");
    let deployment = the(&all, "Deployment", "");
    let spread = &deployment["spec"]["template"]["spec"]["topologySpreadConstraints"];
    assert_eq!(spread.as_array().map(Vec::len), Some(2), "{spread}");
    the(&all, "PodDisruptionBudget", "");
    let policy = the(&all, "NetworkPolicy", "");
    let ports = policy["spec"]["egress"][0]["ports"].as_array().expect("ports").iter();
    let ports: Vec<_> = ports.filter_map(|port| port["port"].as_u64()).collect();
    assert_eq!(ports, [53, 53, 443, 6443, 8080, 8443, 80, 3128]);
    assert!(the(&all, "PrometheusRule", "")["spec"]["groups"].is_array());
    let dashboard = &the(&all, "ConfigMap", "-dashboard")["data"]["cloud-image-operator.json"];
    serde_json::from_str::<Value>(dashboard.as_str().expect("a text")).expect("the dashboard is JSON");
    for object in all.iter().filter(|object| object["kind"] != "CustomResourceDefinition") {
        assert_eq!(object["metadata"]["labels"]["team"], "images", "{object}");
    }

    let alone = helm.template(&["leaderElection.enabled=false"]);
    assert_eq!(the(&alone, "Deployment", "")["spec"]["strategy"], json!({ "type": "Recreate" }));
    assert!(!arguments(&alone).contains("--leader-elect"));

    // The samples name these ports.
    let tried = helm.template(&["simulator.enabled=true"]);
    let simulator = &the(&tried, "Deployment", "")["spec"]["template"]["spec"]["containers"][1];
    for (flag, port) in [("volcengine", 8801), ("aliyun-ecs", 8802), ("batchcompute", 8803), ("zstack", 8804)]
    {
        let argument = json!(format!("--{flag}=127.0.0.1:{port}"));
        assert!(simulator["args"].as_array().is_some_and(|args| args.contains(&argument)), "{simulator}");
        assert!(arguments(&tried).contains(&format!("--allow-endpoint=http://127.0.0.1:{port}")));
    }
}

/// Each rule as one line for a resource: whose, what, which of them, what with it.
fn rights(role: &Value) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().expect("rules") {
        let list = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
        let words = |field: &str| list(field).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        for resource in list("resources") {
            let (resource, names) = (resource.as_str().unwrap_or_default(), words("resourceNames"));
            rights.insert(format!("{}/{resource}[{names}] {}", words("apiGroups"), words("verbs")));
        }
    }
    rights
}

#[test]
fn the_rights_are_these_and_no_others() {
    let [_, helm] = Helm::both_alone();
    let kinds: Vec<_> = KINDS.iter().map(|kind| kind.crd().spec.names.plural).collect();
    let mut needed = BTreeSet::new();
    let owners = ["imagedistributions".to_owned()];
    for kind in kinds.iter().chain(&owners) {
        needed.insert(format!("cloudimages.dev/{kind}[] get,list,watch,patch"));
        needed.insert(format!("cloudimages.dev/{kind}/status[] patch"));
    }
    // What it owns, and that it may own it.
    needed.insert("cloudimages.dev/aliyunimagecopies[] create,delete".into());
    needed.insert("cloudimages.dev/imagedistributions/finalizers[] update".into());
    for kind in ["cloudaccounts", "clustercloudaccounts"] {
        needed.insert(format!("cloudimages.dev/{kind}[] get,list,watch,patch"));
        needed.insert(format!("cloudimages.dev/{kind}/status[] patch"));
    }
    let with = |more: &[&str]| needed.union(&set(more)).cloned().collect::<BTreeSet<_>>();
    let (events, lease) = (
        "events.k8s.io/events[] create,patch",
        set(&[
            "coordination.k8s.io/leases[] create",
            "coordination.k8s.io/leases[cloud-image-operator] get,update",
        ]),
    );
    let name = "operators-release-cloud-image-operator";
    let roles = |objects: &[Value]| {
        let roles = objects.iter().filter(|object| object["kind"] == "Role");
        roles.map(|role| (role["metadata"]["namespace"].clone(), rights(role))).collect::<Vec<_>>()
    };

    let everywhere = helm.template(&[]);
    let cluster = rights(the(&everywhere, "ClusterRole", name));
    assert_eq!(cluster, with(&[events, "/secrets[] get,list,watch", "/namespaces[] get"]));
    assert_eq!(roles(&everywhere), [(json!("operators"), lease.clone())]);

    let two = helm.template(&[r#"watchNamespaces=["a","b"]"#]);
    assert_eq!(rights(the(&two, "ClusterRole", name)), with(&["/namespaces[a,b] get"]));
    let inside = set(&[events, "/secrets[] get,list,watch"]);
    let inside = |namespace: &str| (json!(namespace), inside.clone());
    assert_eq!(roles(&two), [inside("a"), inside("b"), (json!("operators"), lease.clone())]);

    let shared = helm.template(&["replicas=2", "shards=2"]);
    let locks = set(&["coordination.k8s.io/leases[] get,list,create,update,delete"]);
    assert_eq!(roles(&shared), [(json!("operators"), locks)]);
    assert!(arguments(&shared).contains("--shards=2"));
    assert_eq!(the(&shared, "Deployment", "")["spec"]["strategy"]["type"], "Recreate");

    let narrow = helm.template(&[
        r#"watchNamespaces=["a","b"]"#,
        r#"rbac.secrets={"names":["s"],"namespaces":["a"]}"#,
        r#"events="none""#,
        "rbac.namespaceLabels=false",
        "leaderElection.enabled=false",
    ]);
    assert_eq!(rights(the(&narrow, "ClusterRole", name)), needed);
    assert_eq!(roles(&narrow), [(json!("a"), set(&["/secrets[s] get,list,watch"]))]);

    // Every role is bound, to the ServiceAccount that the pod uses.
    for objects in [&everywhere, &two, &narrow] {
        let account = &the(objects, "Deployment", "")["spec"]["template"]["spec"]["serviceAccountName"];
        for role in
            objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Role")))
        {
            let meta = &role["metadata"];
            if meta["labels"]
                .as_object()
                .is_some_and(|labels| labels.keys().any(|label| label.contains("aggregate")))
            {
                continue;
            }
            let bound = objects.iter().any(|object| {
                object["roleRef"]["name"] == meta["name"]
                    && object["roleRef"]["kind"] == role["kind"]
                    && object["metadata"]["namespace"] == meta["namespace"]
                    && object["subjects"]
                        == json!([{ "kind": "ServiceAccount", "name": account, "namespace": "operators" }])
            });
            assert!(bound, "{role}");
        }
    }

    // What users get is every kind, and no status.
    for (role, verbs) in [
        ("view", "get,list,watch"),
        ("edit", "create,update,patch,delete,deletecollection"),
        ("admin", "create,update,patch,delete,deletecollection"),
    ] {
        let object = the(&everywhere, "ClusterRole", &format!("-{role}"));
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{role}");
        assert_eq!(object["metadata"]["labels"][label], "true");
        let cluster = set(&[&format!("cloudimages.dev/clustercloudaccounts[] {verbs}")]);
        let mut expected: BTreeSet<_> =
            kinds.iter().chain(&owners).map(|kind| format!("cloudimages.dev/{kind}[] {verbs}")).collect();
        expected.insert(format!("cloudimages.dev/cloudaccounts[] {verbs}"));
        let expected = match role {
            "view" => expected.union(&cluster).cloned().collect(),
            "edit" => expected,
            _ => cluster,
        };
        assert_eq!(rights(object), expected, "{role}");
    }
}

#[test]
fn the_crds_are_those_of_the_operator() {
    let [_, helm] = Helm::both_alone();
    let rendered = helm.template(&[]);
    for crd in kinds::crds(KINDS) {
        let expected = serde_json::to_value(&crd).expect("a CRD is JSON");
        let found = the(&rendered, "CustomResourceDefinition", crd.metadata.name.as_deref().expect("a name"));
        assert_eq!(found["spec"], expected["spec"]);
        assert_eq!(found["metadata"]["annotations"], json!({ "helm.sh/resource-policy": "keep" }));
    }
    let without = helm.template(&["crds.keep=false"]);
    let first = without.iter().find(|object| object["kind"] == "CustomResourceDefinition").expect("a CRD");
    assert_eq!(first["metadata"]["annotations"], Value::Null);
    let none = helm.template(&["crds.install=false"]);
    assert!(none.iter().all(|object| object["kind"] != "CustomResourceDefinition"));
}

#[test]
fn accounts_wait_for_their_kinds_and_name_their_secrets() {
    let [three, four] = Helm::both_alone();
    let accounts = concat!(
        r#"accounts=[{"name":"one","spec":{"aliyun":{"regionId":"r"}},"credentials":{"accessKeyId":"i","accessKeySecret":"s"}},"#,
        r#"{"name":"all","kind":"ClusterCloudAccount","spec":{"aliyun":{"regionId":"r"}},"credentials":{"accessKeyId":"i","accessKeySecret":"s"}},"#,
        r#"{"name":"own","namespace":"n","spec":{"aliyun":{"regionId":"r","credentialsSecretRef":{"name":"mine"}}}}]"#
    );
    for helm in [three, four] {
        let early = helm.template(&[accounts]);
        assert!(early.iter().all(|object| object["apiVersion"] != "cloudimages.dev/v1alpha1"));
        let later = helm.template(&[accounts, "crds.install=false"]);
        let reference = |kind: &str, name: &str| {
            the(&later, kind, name)["spec"]["aliyun"]["credentialsSecretRef"].clone()
        };
        assert_eq!(reference("CloudAccount", "one"), json!({ "name": "one-credentials" }));
        let everybodys = json!({ "name": "all-credentials", "namespace": "operators" });
        assert_eq!(reference("ClusterCloudAccount", "all"), everybodys);
        assert_eq!(reference("CloudAccount", "own"), json!({ "name": "mine" }));
        assert_eq!(later.iter().filter(|object| object["kind"] == "Secret").count(), 2);
        // An account that goes with the release would never end, since nobody is left to let go of it.
        for object in later.iter().filter(|object| object["metadata"]["name"] == "one") {
            assert_eq!(object["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        }
    }
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    let wrong = [
        (r#"watchNamespaces=[""]"#, "/watchNamespaces/0"),
        (r#"watchNamespaces=["A"]"#, "/watchNamespaces/0"),
        (r#"watchNamespaces=["a","a"]"#, "/watchNamespaces"),
        (r#"watchNamespaces="a""#, "/watchNamespaces"),
        ("replicas=-1", "/replicas"),
        (r#"replicas="two""#, "/replicas"),
        ("typo=1", "typo"),
        ("crds.typo=1", "typo"),
        (r#"events="some""#, "/events"),
        (r#"log.format="xml""#, "/log/format"),
        ("metrics.port=0", "/metrics/port"),
        (r#"allowEndpoints=["ftp://x"]"#, "/allowEndpoints/0"),
        (r#"allowEndpoints=["http://"]"#, "/allowEndpoints/0"),
        (r#"extraArgs=["run"]"#, "/extraArgs/0"),
        (r#"rbac.secrets.namespaces=[""]"#, "/rbac/secrets/namespaces/0"),
        (r#"rbac.secrets.names=[""]"#, "/rbac/secrets/names/0"),
        (r#"image.pullPolicy="Sometimes""#, "/image/pullPolicy"),
        (r#"image.digest="abc""#, "/image/digest"),
        ("terminationGracePeriodSeconds=1", "/terminationGracePeriodSeconds"),
        (r#"accounts=[{"name":"a"}]"#, "/accounts/0"),
        (
            r#"accounts=[{"name":"a","spec":{"zstack":{}},"credentials":{"password":""}}]"#,
            "/accounts/0/credentials/password",
        ),
        (r#"proxy.https="proxy:3128""#, "/proxy/https"),
    ];
    // Helm 3 names places another way.
    let [_, helm] = Helm::both_alone();
    for (value, place) in wrong {
        let refusal = helm.run(["template", "r", CHART, "--set-json", value]).expect_err(value);
        assert!(refusal.contains(place), "{value}: {refusal}");
    }
    for (values, sentence) in [
        (&["shards=2", "leaderElection.enabled=false"][..], "leaderElection.enabled must be true"),
        (&["replicas=2", "leaderElection.enabled=false"][..], "leaderElection.enabled must be true"),
        (&["replicas=2", "simulator.enabled=true"], "set replicas to 1"),
        (
            &["metrics.serviceMonitor.enabled=true", "metrics.service.enabled=false"],
            "needs metrics.service.enabled",
        ),
        (
            &[
                r#"accounts=[{"name":"a","spec":{"zstack":{"credentialsSecretRef":{"name":"s"}}},"credentials":{"password":"p"}}]"#,
            ],
            "leave one of them out",
        ),
    ] {
        let set = values.iter().flat_map(|value| ["--set-json", *value]);
        for helm in Helm::both_alone() {
            let refusal =
                helm.run(["template", "r", CHART].into_iter().chain(set.clone())).expect_err(sentence);
            assert!(refusal.contains(sentence), "{values:?}: {refusal}");
        }
    }
}

/// Holds the keys of some values against their schema, and their comments against the table.
fn compare(values: &Value, schema: &Value, path: &str, readme: &str) {
    let Some(known) = schema["properties"].as_object() else { return };
    let keys = values.as_object().unwrap_or_else(|| panic!("{path} is no map"));
    let mut known: BTreeSet<_> = known.keys().collect();
    known.retain(|&key| key != "global"); // Helm's own
    assert_eq!(keys.keys().collect::<BTreeSet<_>>(), known, "{path}");
    for (key, value) in keys {
        let (path, schema) = (format!("{path}{key}"), &schema["properties"][key]);
        if schema["properties"].is_object() {
            compare(value, schema, &format!("{path}."), readme);
        } else {
            let row = readme.lines().find(|line| line.starts_with(&format!("| {path} | ")));
            let text = row.and_then(|row| row.rsplit(" | ").next()).unwrap_or_default();
            assert!(text.len() > 10, "{path} has no comment: {row:?}");
        }
    }
}

/// A value that is not in the schema could not be set; one that is only there is not documented.
#[test]
fn the_schema_and_the_documentation_know_every_value() {
    let read = |file: &str| fs::read_to_string(xtask::workspace::root().join(CHART).join(file)).expect(file);
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("YAML");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    compare(&values, &schema, "", &read("README.md"));
}

#[test]
fn values_in_the_documentation_are_taken_and_mean_something() {
    let blocks = super::page::page("docs/installing.md").blocks.into_iter();
    let blocks: Vec<_> =
        blocks.filter(|block| block.language == "yaml" && block.under == "With Helm").collect();
    assert!(!blocks.is_empty());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("values.yaml");
    for block in blocks {
        fs::write(&file, &block.text).expect("a file");
        for helm in Helm::both_alone() {
            let rendered = helm.run(["template", "r", CHART, "--values", file.to_str().expect("a text")]);
            let rendered = objects(&rendered.unwrap_or_else(|error| panic!("{error}")));
            assert_ne!(rendered, objects(&helm.run(["template", "r", CHART]).expect("it renders")));
        }
    }
}

/// What is not as kube-score would have it, on purpose.
const IGNORED: &[&str] = &[
    // Tags of releases do not move.
    "container-image-pull-policy",
    // Nothing is written but the log, which the kubelet rotates.
    "container-ephemeral-storage-request-and-limit",
    // One is enough: who wants a standby asks for it.
    "deployment-replicas",
    // Replicas are spread by topologySpreadConstraints.
    "deployment-has-host-podantiaffinity",
];

#[test]
fn kube_score_finds_nothing() {
    let score = xtask::tools::kube_score().expect("kube-score can be built");
    let [_, helm] = Helm::both_alone();
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (number, values) in [&["networkPolicy.enabled=true"][..], ALL].into_iter().enumerate() {
        let file = folder.path().join(format!("{number}.yaml"));
        let list: Vec<_> = helm.template(values).iter().map(Value::to_string).collect();
        fs::write(&file, list.join("\n---\n")).expect("a file");
        let mut command = Command::new(&score);
        command.args([
            "score",
            "--output-format=ci",
            "--ignore-container-cpu-limit",
            "--kubernetes-version=v1.30",
        ]);
        command.args(IGNORED.iter().map(|test| format!("--ignore-test={test}")));
        let said = run(command.arg(&file)).unwrap_or_else(|error| panic!("{error}"));
        let bad: Vec<_> =
            said.lines().filter(|line| !line.starts_with("[OK]") && !line.starts_with("[SKIPPED]")).collect();
        assert_eq!(bad, Vec::<&str>::new(), "{values:?}");
    }
}

#[test]
fn plain_manifests_are_the_chart() {
    let root = xtask::workspace::root();
    let read = |file: &str| objects(&fs::read_to_string(root.join("deploy").join(file)).expect(file));
    let whole = read("operator.yaml");
    assert_eq!(whole[0]["kind"], "Namespace");
    let mut parts = vec![];
    for part in ["namespace", "crds", "rbac", "operator"] {
        parts.extend(read(&format!("base/{part}.yaml")));
    }
    assert_eq!(whole, parts);
    let [_, helm] = Helm::both_alone();
    assert_eq!(whole.len(), helm.template(&[]).len() + 1);
}
