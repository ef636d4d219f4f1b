//! What signatures need to know of a request.

use http::Request;

/// Host, with the port unless it is the scheme's own.
pub fn authority<T>(request: &Request<T>) -> String {
    let uri = request.uri();
    let own = if uri.scheme_str() == Some("http") { 80 } else { 443 };
    let host = uri.host().unwrap_or_default();
    match uri.port_u16() {
        Some(port) if port != own => format!("{host}:{port}"),
        _ => host.to_owned(),
    }
}
