//! Which proxy a request goes through: what `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, in the upper or
//! the lower case, as most programs read them.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use std::{fmt, sync::Arc};

/// The environment's proxies. Cheap to clone.
#[derive(Clone)]
pub struct Proxies(Arc<Matcher>);

/// The proxy of one request. Shown without user and password.
pub struct Proxy(Intercept);

/// A variable that names a proxy that cannot be used. Its value may hold a password, and is not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is not the address of a proxy that can be used; write it like http://proxy.example:3128 (http or https, no SOCKS)"
)]
pub struct Unusable(&'static str);

const VARIABLES: [[&str; 2]; 3] =
    [["HTTPS_PROXY", "https_proxy"], ["HTTP_PROXY", "http_proxy"], ["ALL_PROXY", "all_proxy"]];

impl Proxies {
    /// As the environment says.
    pub fn from_env() -> Self {
        // As reqwest does it, so that both go the same way.
        Self(Arc::new(Matcher::from_system()))
    }

    /// Whether the environment's values can be used: what cannot be read would be passed over, and requests go out
    /// where they must not.
    pub fn check(variable: impl Fn(&str) -> Option<String>) -> Result<(), Unusable> {
        let set = VARIABLES.iter().flatten().filter_map(|name| Some((*name, variable(name)?)));
        for (name, value) in set.filter(|(_, value)| !value.is_empty()) {
            let matcher = Matcher::builder().all(value).build();
            let proxy = matcher.intercept(&Uri::from_static("https://anywhere"));
            let scheme = proxy.as_ref().and_then(|proxy| proxy.uri().scheme_str());
            if !matches!(scheme, Some("http" | "https")) {
                return Err(Unusable(name));
            }
        }
        Ok(())
    }

    /// The proxy for a request; `None`: it goes straight.
    pub fn of(&self, target: &Uri) -> Option<Proxy> {
        self.0.intercept(target).map(Proxy)
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Proxies")
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0.uri().to_string().trim_end_matches('/'))
    }
}

impl Proxy {
    /// Its address with user and password, for a client that takes both from there.
    pub fn with_credentials(&self) -> Option<Uri> {
        let uri = self.0.uri();
        let Some(basic) = self.0.basic_auth() else { return Some(uri.clone()) };
        let both = BASE64_STANDARD.decode(basic.to_str().ok()?.strip_prefix("Basic ")?).ok()?;
        let both = String::from_utf8(both).ok()?;
        let (user, password) = both.split_once(':')?;
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let authority = format!("{}:{}@{}", encoded(user), encoded(password), uri.authority()?);
        Uri::builder().scheme(uri.scheme()?.clone()).authority(authority).path_and_query("/").build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(proxy: &str, no: &str) -> Proxies {
        Proxies(Arc::new(Matcher::builder().all(proxy.to_owned()).no(no.to_owned()).build()))
    }

    #[test]
    fn what_no_proxy_names_goes_straight() {
        let proxies = proxies("proxy:3128", "10.0.0.0/8,.svc,,api.default");
        for (target, through) in [
            ("https://ecs.cn-hangzhou.aliyuncs.com/", true),
            ("https://10.96.0.1:443/", false),
            ("https://api.default:443", false),
            ("https://operator.images.svc", false),
            ("http://192.168.0.1", true),
        ] {
            assert_eq!(proxies.of(&target.parse().unwrap()).is_some(), through, "{target}");
        }
    }

    #[test]
    fn a_password_is_sent_and_never_shown() {
        let proxy = proxies("https://me:p%40ss%3A%2Fword@proxy:3128/", "")
            .of(&Uri::from_static("https://vendor"))
            .unwrap();
        assert_eq!(proxy.to_string(), "https://proxy:3128");
        let whole = proxy.with_credentials().unwrap();
        assert_eq!(whole.to_string(), "https://me:p%40ss%3A%2Fword@proxy:3128/");
        let plain = proxies("http://proxy:1", "").of(&Uri::from_static("https://vendor")).unwrap();
        assert_eq!(plain.with_credentials().unwrap(), *plain.0.uri());
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_without_it() {
        let check = |name: &'static str, value: &'static str| {
            Proxies::check(move |asked| (asked == name).then(|| value.to_owned()))
        };
        for value in ["", "proxy:3128", "http://proxy", "https://me:secret@proxy:1"] {
            assert_eq!(check("HTTPS_PROXY", value), Ok(()), "{value}");
        }
        for value in ["socks5://me:secret@proxy:1", "ftp://proxy", "not a proxy", "http://"] {
            let error = check("https_proxy", value).unwrap_err().to_string();
            assert!(error.starts_with("https_proxy is not") && !error.contains("secret"), "{value}: {error}");
        }
    }
}
