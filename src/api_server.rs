//! The way to the API server. Every request has a deadline, and a connection that goes silent is closed: one whose other end
//! only acknowledges, as behind a load balancer that lost its server, would otherwise hold up all that is sent over it.

use crate::engine::pace;
use kube::{Client, Config, client::ClientBuilder};
use tower::timeout::TimeoutLayer;

/// A client that never waits for ever.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(pace::CONNECT_TIMEOUT);
    // From the last byte in either direction, so that it does not count how long a connection was idle before.
    config.read_timeout = Some(pace::API_SILENCE);
    config.reset_reader_on_write = true;
    config.write_timeout = Some(pace::API_TIMEOUT);
    // Until the answer begins; a watch lasts longer than that.
    let builder = ClientBuilder::try_from(config)?.with_layer(&TimeoutLayer::new(pace::API_TIMEOUT));
    Ok(builder.build())
}
