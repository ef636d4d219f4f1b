//! A stand-in for Flux' source-controller: it publishes revisions of files as that one does, as an archive over HTTP and a
//! source object that says where.

use crate::harness::World;
use axum::{Router, extract::State, http::Uri};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::AbortHandle};

type Archives = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// One GitRepository. Dropping it stops serving.
pub struct Source {
    name: String,
    address: SocketAddr,
    archives: Archives,
    task: AbortHandle,
}

impl Source {
    /// Installs the kinds that kustomize-controller watches, and makes a repository without a revision.
    pub async fn start(world: &World, name: &str) -> Self {
        for (kind, plural) in [
            ("GitRepository", "gitrepositories"),
            ("OCIRepository", "ocirepositories"),
            ("Bucket", "buckets"),
        ] {
            world.create(definition(kind, plural)).await;
            world.until_established(&format!("{plural}.source.toolkit.fluxcd.io")).await;
        }
        let repository = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": { "name": name },
            "spec": { "interval": "1h", "url": "https://example.com/fleet.git" },
        });
        world.create(repository).await;
        let archives = Archives::default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(serve).with_state(archives.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Self { name: name.into(), address, archives, task }
    }

    /// Publishes files under their paths as the newest revision.
    pub async fn publish(&mut self, world: &World, revision: &str, files: &BTreeMap<String, String>) {
        let archive = packed(files);
        let path = format!("/{}/{revision}.tar.gz", self.name);
        let artifact = json!({
            "digest": format!("sha256:{}", hex::encode(Sha256::digest(&archive))),
            "lastUpdateTime": jiff::Timestamp::now().to_string(),
            "path": path.trim_start_matches('/'),
            "revision": revision,
            "size": archive.len(),
            "url": format!("http://{}{path}", self.address),
        });
        self.archives.lock().expect("no panic").insert(path, archive);
        let ready = json!({
            "type": "Ready",
            "status": "True",
            "reason": "Succeeded",
            "message": "stored artifact",
            "lastTransitionTime": jiff::Timestamp::now().to_string(),
            "observedGeneration": 1,
        });
        let status = json!({ "observedGeneration": 1, "artifact": artifact, "conditions": [ready] });
        world.patch_status("GitRepository", &self.name, status).await;
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(archives): State<Archives>, uri: Uri) -> Result<Vec<u8>, axum::http::StatusCode> {
    let archive = archives.lock().expect("no panic").get(uri.path()).cloned();
    archive.ok_or(axum::http::StatusCode::NOT_FOUND)
}

fn packed(files: &BTreeMap<String, String>) -> Vec<u8> {
    let mut archive = tar::Builder::new(GzEncoder::new(vec![], Compression::fast()));
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, text.as_bytes()).expect("memory");
    }
    archive.into_inner().and_then(GzEncoder::finish).expect("memory")
}

/// The least that the API server needs to know: Flux' own definitions are not among what can be had here.
fn definition(kind: &str, plural: &str) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.source.toolkit.fluxcd.io") },
        "spec": {
            "group": "source.toolkit.fluxcd.io",
            "names": { "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase() },
            "scope": "Namespaced",
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } },
            }],
        },
    })
}
