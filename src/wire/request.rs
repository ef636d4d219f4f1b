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

/// A request as it was recorded: lines, an empty one, the body.
#[cfg(test)]
pub(crate) fn recorded(text: &str) -> Request<Vec<u8>> {
    let (head, body) = text.split_once("\n\n").expect("an empty line");
    let mut lines = head.lines();
    let mut first = lines.next().expect("a request line").split(' ');
    let mut request =
        Request::builder().method(first.next().expect("a method")).uri(first.next().expect("a target"));
    for line in lines {
        let (name, value) = line.split_once(": ").expect("a header");
        request = request.header(name, value);
    }
    request.body(body.into()).expect("a request")
}
