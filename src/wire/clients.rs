//! One [`Http`] for all who trust the same certificates: each has connections and threads' worth of state of its own, and
//! reading the system's certificates takes a while.

use super::Http;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

/// Those in use, by the bundle of certificates that they trust besides the system's.
#[derive(Debug)]
pub struct Clients {
    timeout: Duration,
    connect_timeout: Duration,
    /// The one without a bundle is kept, the others as long as they are used.
    plain: Mutex<Option<Arc<Http>>>,
    bundled: Mutex<HashMap<String, Weak<Http>>>,
}

impl Clients {
    /// None yet.
    pub fn new(timeout: Duration, connect_timeout: Duration) -> Self {
        Self { timeout, connect_timeout, plain: Mutex::default(), bundled: Mutex::default() }
    }

    /// The one that trusts these PEM certificates, and the system's.
    pub fn get(&self, ca_bundle: Option<&str>) -> Result<Arc<Http>, String> {
        let new = || Http::new(self.timeout, self.connect_timeout, ca_bundle).map(Arc::new);
        let Some(bundle) = ca_bundle else {
            let mut plain = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(http) = &*plain {
                return Ok(http.clone());
            }
            return Ok(plain.insert(new()?).clone());
        };
        let mut bundled = self.bundled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(http) = bundled.get(bundle).and_then(Weak::upgrade) {
            return Ok(http);
        }
        let http = new()?;
        bundled.retain(|_, http| http.strong_count() > 0);
        bundled.insert(bundle.to_owned(), Arc::downgrade(&http));
        Ok(http)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_trusts_the_same_shares_and_what_nobody_uses_is_dropped() {
        let bundle = || {
            let certified = rcgen::generate_simple_self_signed(["cloud".to_owned()]).unwrap();
            certified.cert.pem()
        };
        let clients = Clients::new(Duration::from_secs(1), Duration::from_secs(1));
        let get = |bundle: Option<&str>| clients.get(bundle).unwrap();
        let (one, other) = (bundle(), bundle());
        let first = get(Some(&one));
        assert!(Arc::ptr_eq(&first, &get(Some(&one))));
        assert!(!Arc::ptr_eq(&first, &get(Some(&other))));
        assert!(!Arc::ptr_eq(&first, &get(None)) && Arc::ptr_eq(&get(None), &get(None)));
        drop(first);
        let _third = get(Some(&other));
        assert_eq!(clients.bundled.lock().unwrap().len(), 1);
        assert!(clients.get(Some("nothing")).is_err());
    }
}
