//! What a test needs to make the operator's own client call a vendor, without an operator around it.

use axum::{Json, Router};
use cloud_image_operator::{
    account::{AccountVendor, AliyunAccount, AliyunEcsApi, SecretRef},
    engine::{
        credentials::Credentials,
        external::{Connect, External, Material},
        journal::{Journal, Permit},
        limits::Limits,
        object::Object,
        progress::{Intent, Origin},
        telemetry::{Events, Telemetry},
    },
    vendors::aliyun::{Client, image_component::ImageComponent},
    wire::{Http, endpoint::Endpoints},
};
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// A client for Alibaba Cloud at `endpoint`, with a Secret's `keys` and values.
pub fn aliyun(endpoint: &str, keys: &[(&str, &str)], http: Http) -> Client {
    let account = AccountVendor {
        aliyun: Some(AliyunAccount {
            region_id: "cn-hangzhou".into(),
            credentials_secret_ref: SecretRef { name: "aliyun".into(), namespace: None },
            ecs: Some(AliyunEcsApi { endpoint: Some(endpoint.into()), ..AliyunEcsApi::default() }),
            batch_compute: None,
        }),
        ..AccountVendor::default()
    };
    Client::connect(&account, material(endpoint, keys, http)).expect("a client")
}

/// What a client for a vendor at `endpoint` is made from, besides its account.
pub fn material(endpoint: &str, keys: &[(&str, &str)], http: Http) -> Material {
    let keys = keys.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    Material {
        vendor: "aliyun",
        secret: Arc::new(Credentials::new("test/keys".into(), keys)),
        http: Arc::new(http),
        limits: Arc::new(Limits::new(&[])),
        credit: Arc::default(),
        telemetry: Telemetry::new(kubernetes(nobody), Events::None, Arc::default()),
        endpoints: Arc::new(Endpoints::new(&[endpoint.into()]).expect("an address")),
    }
}

/// An object of its own with these parameters.
pub fn component(for_provider: &Value) -> ImageComponent {
    let object = json!({
        "apiVersion": "cloudimages.dev/v1alpha1",
        "kind": "ImageComponent",
        "metadata": { "name": "c", "namespace": "test", "uid": uuid::Uuid::new_v4().to_string() },
        "spec": { "forProvider": for_provider },
    });
    serde_json::from_value(object).expect("an ImageComponent")
}

/// A permit of the journal's own, whose API server says that it stored the intent.
pub async fn permit<K: External>(object: &K) -> Permit {
    let stored = serde_json::to_value(object).expect("an object is JSON");
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let stores = Router::new().fallback(move || std::future::ready(Json(stored)));
    let server = tokio::spawn(async move { axum::serve(listener, stores).await });
    let token = K::token(object.meta().uid.as_deref().unwrap_or_default(), 1);
    let intent =
        Intent { token, attempt: 1, since: None, references: vec![], version: None, origin: Origin::Made };
    let object = Object::new(object.clone());
    let (_, permit) =
        Journal::new(kubernetes(address)).first_permit(&object, intent).await.expect("the intent is stored");
    server.abort();
    permit
}

fn kubernetes(address: SocketAddr) -> kube::Client {
    let url = format!("http://{address}").parse().expect("an address");
    kube::Client::try_from(kube::Config::new(url)).expect("a client")
}
