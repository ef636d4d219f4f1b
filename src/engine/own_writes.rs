//! What this process writes itself onto objects where others write too: it comes back by the watch, which is no reason to look at
//! the object again, since the pass that wrote it goes on from there.

use super::{lock, packed::wishes};
use kube::api::ObjectMeta;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// By uid, what is on its way: a hash of what the object's metadata then ask for.
#[derive(Clone, Debug, Default)]
pub struct OwnWrites(Arc<Mutex<HashMap<String, u64>>>);

impl OwnWrites {
    /// The object is about to have these metadata by a write that is guarded by its version, so that nothing else comes with
    /// them. It is noted before the write is sent: the watch may tell of it before the answer is there.
    pub fn expect(&self, metadata: &ObjectMeta) {
        let uid = metadata.uid.clone().unwrap_or_default();
        lock(&self.0).insert(uid, wishes(metadata, None));
    }

    /// Whether these metadata are what was written last, which is so once. A write whose answer was lost counts as well: the pass
    /// that made it failed, and comes back by itself.
    pub fn is_one(&self, metadata: &ObjectMeta) -> bool {
        let uid = metadata.uid.as_deref().unwrap_or_default();
        // Other news than that: it was not written, or its own news never came, and would swallow a later return to it.
        lock(&self.0).remove(uid).is_some_and(|expected| expected == wishes(metadata, None))
    }

    /// Forgets the objects that are not there any more.
    pub fn retain(&self, is_there: impl Fn(&str) -> bool) {
        lock(&self.0).retain(|uid, _| is_there(uid));
    }

    /// The object is gone.
    pub fn forget(&self, uid: &str) {
        lock(&self.0).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_no_news_once_and_what_others_write_is() {
        let (own, uid) = (OwnWrites::default(), Some("u".to_owned()));
        let written = ObjectMeta { uid, finalizers: Some(vec!["ours".into()]), ..ObjectMeta::default() };
        let others = ObjectMeta { generation: Some(2), ..written.clone() };
        let anothers = ObjectMeta { uid: Some("v".into()), ..written.clone() };
        own.expect(&written);
        assert!(!own.is_one(&anothers) && own.is_one(&written));
        assert!(!own.is_one(&written), "somebody else has written the same again");
        own.expect(&written);
        assert!(!own.is_one(&others));
        assert!(!own.is_one(&written), "somebody has taken back what he wrote after it");
        own.expect(&written);
        own.forget("u");
        assert!(!own.is_one(&written));
        own.expect(&written);
        own.retain(|uid| uid != "u");
        assert!(!own.is_one(&written));
    }
}
