//! Which addresses the operator may call: the vendors' own, and what its administrator allowed. A tenant who writes an
//! account must not be able to aim the operator at internal addresses.

use http::Uri;
use url::{Host, Url};

/// The addresses that the administrator allowed besides the vendors' own, as URL prefixes.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    allowed: Vec<Url>,
}

/// Why an address may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Not a usable URL.
    #[error("endpoint {0:?} is not a usable address: {1}; write it like https://host:port")]
    Malformed(String, String),
    /// Neither the vendor's nor allowed.
    #[error(
        "endpoint {0:?} is not an https address of the vendor ({1}); ask the operator's administrator to start it with \
         --allow-endpoint {2}"
    )]
    NotAllowed(String, String, String),
}

impl Endpoints {
    /// Reads the values of `--allow-endpoint`.
    pub fn new(prefixes: &[String]) -> Result<Self, Denied> {
        let allowed = prefixes.iter().map(|prefix| parse(prefix)).collect::<Result<_, _>>()?;
        Ok(Self { allowed })
    }

    /// One spelling for all that mean the same address.
    pub fn normal(endpoint: &str) -> String {
        match parse(endpoint) {
            Ok(url) => url.origin().ascii_serialization() + url.path().trim_end_matches('/'),
            Err(_) => endpoint.to_owned(),
        }
    }

    /// Where an address leads, to tell realms apart. All of a vendor's own hosts lead to the same APIs, over whichever
    /// network, so their domain stands for them; any other address stands for itself. `domains` are the vendor's own, first
    /// the one where an account goes that names no endpoint.
    pub fn place(endpoint: Option<&str>, domains: &[&str]) -> String {
        let usual = domains.first().copied();
        let own = endpoint.map_or(usual, |endpoint| {
            let url = parse(endpoint).ok().filter(|url| url.scheme() == "https")?;
            domains.iter().find(|domain| is_within(&url, domain)).copied()
        });
        own.map_or_else(|| Self::normal(endpoint.unwrap_or_default()), str::to_owned)
    }

    /// The address, if it may be called. `domains` are the vendor's own, such as `aliyuncs.com`.
    pub fn check(&self, endpoint: &str, domains: &[&str]) -> Result<Url, Denied> {
        let url = parse(endpoint)?;
        let own = url.scheme() == "https" && domains.iter().any(|domain| is_within(&url, domain));
        if own || self.allowed.iter().any(|prefix| is_prefix(prefix, &url)) {
            return Ok(url);
        }
        let domains =
            if domains.is_empty() { "on premises: none is known".into() } else { domains.join(", ") };
        Err(Denied::NotAllowed(endpoint.into(), domains, url.origin().ascii_serialization()))
    }
}

fn parse(text: &str) -> Result<Url, Denied> {
    let malformed = |why: &str| Denied::Malformed(text.into(), why.into());
    let url = Url::parse(text).map_err(|error| malformed(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(malformed("it must start with http:// or https://"));
    }
    if url.host().is_none() {
        return Err(malformed("it has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(malformed("it must not hold a user name or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(malformed("it must not have a query or a fragment"));
    }
    // Readers of URLs differ in what a host may be made of.
    if let Err(error) = url.as_str().parse::<Uri>() {
        return Err(malformed(&error.to_string()));
    }
    Ok(url)
}

fn is_within(url: &Url, domain: &str) -> bool {
    match url.host() {
        Some(Host::Domain(host)) => {
            let host = host.trim_end_matches('.');
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                && url.port().is_none()
        }
        _ => false,
    }
}

/// Scheme, host and port must be equal; the path must begin with the prefix's, at a segment.
fn is_prefix(prefix: &Url, url: &Url) -> bool {
    let path = prefix.path().trim_end_matches('/');
    prefix.origin() == url.origin()
        && url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(prefixes: &[&str], endpoint: &str) -> bool {
        let prefixes: Vec<_> = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        Endpoints::new(&prefixes).unwrap().check(endpoint, &["aliyuncs.com"]).is_ok()
    }

    #[test]
    fn the_vendors_own_addresses_need_https() {
        assert!(allowed(&[], "https://ecs.cn-hangzhou.aliyuncs.com"));
        assert!(allowed(&[], "https://aliyuncs.com/"));
        for endpoint in [
            "http://ecs.cn-hangzhou.aliyuncs.com",
            "https://ecs.cn-hangzhou.aliyuncs.com:6443",
            "https://evil-aliyuncs.com",
            "https://aliyuncs.com.evil.example",
            "https://user@ecs.aliyuncs.com",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
            "ecs.aliyuncs.com",
            "",
        ] {
            assert!(!allowed(&[], endpoint), "{endpoint}");
        }
    }

    #[test]
    fn an_allowed_prefix_ends_at_a_boundary() {
        let prefixes = ["http://127.0.0.1:8802", "https://gateway.example/ecs"];
        for good in ["http://127.0.0.1:8802", "http://127.0.0.1:8802/any", "https://gateway.example/ecs/v1"] {
            assert!(allowed(&prefixes, good), "{good}");
        }
        for bad in [
            "http://127.0.0.1:88021",
            "https://127.0.0.1:8802",
            "https://gateway.example/ecs-two",
            "https://gateway.example",
        ] {
            assert!(!allowed(&prefixes, bad), "{bad}");
        }
    }

    #[test]
    fn addresses_that_mean_the_same_are_spelt_alike() {
        for same in ["https://Example.com", "https://example.com:443/", "https://example.com"] {
            assert_eq!(Endpoints::normal(same), "https://example.com");
        }
        assert_eq!(Endpoints::normal("http://10.0.0.2:8080/zstack/"), "http://10.0.0.2:8080/zstack");
        assert_ne!(Endpoints::normal("http://example.com"), Endpoints::normal("https://example.com"));
        assert_eq!(Endpoints::normal("nowhere"), "nowhere");
    }

    #[test]
    fn all_hosts_of_a_vendor_lead_to_one_place_and_every_other_address_to_its_own() {
        let place = |endpoint| Endpoints::place(endpoint, &["vendor.com", "elsewhere.com"]);
        for own in ["https://ecs.cn-x.vendor.com", "https://ecs-vpc.cn-x.Vendor.com/", "https://vendor.com"] {
            assert_eq!(place(Some(own)), place(None), "{own}");
        }
        for other in [
            "https://open.elsewhere.com",
            "http://ecs.cn-x.vendor.com",
            "https://ecs.cn-x.vendor.com:8443",
            "https://notvendor.com",
            "http://127.0.0.1:8802",
        ] {
            assert_ne!(place(Some(other)), place(None), "{other}");
        }
        assert_eq!(place(Some("http://127.0.0.1:8802/")), "http://127.0.0.1:8802");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let denied = Endpoints::default().check("http://10.0.0.2:8080/zstack", &[]).unwrap_err();
        assert!(denied.to_string().contains("--allow-endpoint http://10.0.0.2:8080"), "{denied}");
    }
}
