//! The operator's own HTTP server: `/metrics`, `/healthz`, `/readyz`.

use crate::engine::{health::Health, telemetry::Telemetry};
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    routing::get,
};
use futures::future::try_join_all;
use socket2::{Domain, Socket, Type};
use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};
use tokio::net::{TcpListener, lookup_host};
use tokio_util::sync::CancellationToken;

/// Where to serve: `[::]:8080` or `:8080` is everywhere, over IPv6 and IPv4; a name, such as `localhost:8080`, is each of
/// its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// An address, or a name that has some; empty for everywhere.
    host: String,
    port: u16,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not an address; write it like [::]:8080, :8080, localhost:8080 or 10.0.0.1:8080"
            )
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host.parse::<Ipv6Addr>().map_err(|_| wrong())?.to_string(),
            None if host.contains([':', '[', ']', '/', ' ', '@']) => return Err(wrong()),
            None => host.to_owned(),
        };
        Ok(Self { host, port })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(out, "[{host}]:{port}") } else { write!(out, "{host}:{port}") }
    }
}

impl Address {
    /// Listens there: on one socket or, for a name with several addresses, on several.
    async fn listen(&self) -> io::Result<Vec<TcpListener>> {
        let everywhere = [
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.port)),
        ];
        if self.host.is_empty() || self.host == everywhere[0].ip().to_string() {
            return first_family(&everywhere, listen).map(|listener| vec![listener]);
        }
        let addresses: Vec<_> = lookup_host((self.host.as_str(), self.port)).await?.collect();
        every_family(&addresses, listen)
    }
}

/// On the first address whose family the machine has.
fn first_family<T>(addresses: &[SocketAddr], listen: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let mut lacking = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(*address) {
            Err(error) if is_of_the_family(&error) => lacking = error,
            done => return done,
        }
    }
    Err(lacking)
}

/// On all addresses whose family the machine has: one at least.
fn every_family<T>(
    addresses: &[SocketAddr],
    listen: impl Fn(SocketAddr) -> io::Result<T>,
) -> io::Result<Vec<T>> {
    let mut listeners = vec![];
    let mut lacking = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match listen(*address) {
            Err(error) if is_of_the_family(&error) => lacking = error,
            done => listeners.push(done?),
        }
    }
    if listeners.is_empty() { Err(lacking) } else { Ok(listeners) }
}

/// Whether it is the address family that the machine lacks, rather than the port that somebody else has.
fn is_of_the_family(error: &io::Error) -> bool {
    // Linux' EAFNOSUPPORT and EPROTONOSUPPORT, which have no kind of their own.
    error.kind() == io::ErrorKind::AddrNotAvailable || matches!(error.raw_os_error(), Some(97 | 93 | 47 | 43))
}

/// Over IPv6 it takes IPv4 too, whatever the machine's own setting for new sockets is.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Serves until `stop` is cancelled.
pub async fn serve(
    address: &Address,
    telemetry: Telemetry,
    health: Health,
    stop: CancellationToken,
) -> io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(healthz).with_state(health.clone()))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(metrics).with_state(telemetry));
    let servers = address.listen().await?.into_iter().map(|listener| {
        let (app, stop) = (app.clone(), stop.clone().cancelled_owned());
        async move {
            tracing::info!(address = %listener.local_addr()?, "serving /metrics, /healthz and /readyz");
            axum::serve(listener, app).with_graceful_shutdown(stop).await
        }
    });
    try_join_all(servers).await.map(drop)
}

async fn healthz(State(health): State<Health>) -> (StatusCode, String) {
    match health.life() {
        Ok(()) => (StatusCode::OK, "ok\n".into()),
        Err(stuck) => (StatusCode::INTERNAL_SERVER_ERROR, stuck),
    }
}

async fn readyz(State(health): State<Health>) -> (StatusCode, String) {
    match health.readiness() {
        Ok(ready) => (StatusCode::OK, ready),
        Err(missing) => (StatusCode::SERVICE_UNAVAILABLE, missing),
    }
}

async fn metrics(
    State(telemetry): State<Telemetry>,
    headers: HeaderMap,
) -> ([(&'static str, &'static str); 1], String) {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text")) {
        let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([("content-type", open)], telemetry.metrics().open_metrics())
    } else {
        ([("content-type", "text/plain; version=0.0.4; charset=utf-8")], telemetry.metrics().text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("[::]:8080", "::", 8080),
            (":8080", "", 8080),
            ("localhost:0", "localhost", 0),
            ("0.0.0.0:1", "0.0.0.0", 1),
            ("[fd00::1]:65535", "fd00::1", 65535),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.to_string(), text);
        }
        for text in
            ["", "8080", "::", "[::]", "::1:8080", "http://localhost:8080", "[localhost]:80", ":65536", ":x"]
        {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.contains("[::]:8080, :8080, localhost:8080"), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn everywhere_is_over_both_families() {
        for text in [":0", "[::]:0"] {
            let listeners = text.parse::<Address>().unwrap().listen().await.unwrap();
            let [listener] = listeners.as_slice() else { panic!("one socket") };
            let port = listener.local_addr().unwrap().port();
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("over IPv4");
            if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
                TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.expect("over IPv6");
            }
        }
        let listeners = "localhost:0".parse::<Address>().unwrap().listen().await.unwrap();
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap().ip().is_loopback()));
    }

    #[test]
    fn a_family_that_the_machine_lacks_is_passed_over_and_a_port_that_is_taken_is_not() {
        let both = ["[::]:8080".parse().unwrap(), "0.0.0.0:8080".parse().unwrap()];
        let only_v4 = |address: SocketAddr| {
            if address.is_ipv4() { Ok(address) } else { Err(io::Error::from_raw_os_error(97)) }
        };
        assert_eq!(first_family(&both, only_v4).unwrap(), both[1]);
        assert_eq!(every_family(&both, only_v4).unwrap(), [both[1]]);
        let taken = |address: SocketAddr| {
            if address.is_ipv4() { Ok(address) } else { Err(io::ErrorKind::AddrInUse.into()) }
        };
        assert_eq!(first_family(&both, taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(every_family(&both, taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let none = |_| Err::<SocketAddr, _>(io::Error::from_raw_os_error(97));
        assert!(first_family(&both, none).is_err() && every_family(&both, none).is_err());
    }
}
