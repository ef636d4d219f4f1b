//! The versions that an object has made one after the other, where its kind can have a new one take the place of what is there.
//! Pure.
//!
//! What counts is what the operator wrote into the object's own status. The newest stands first and is what the object has; in the
//! write that permits the next one's creating call it becomes the first predecessor, so that no crash loses it.

use super::progress::{Origin, Product, Progress};
use crate::image::{ImageStatus, OperationState, VERSIONS, Version};
use std::collections::BTreeSet;

/// How an object wants its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Succession {
    /// How many versions stay, with the newest; `None`: all of them.
    pub keep: Option<usize>,
    /// A hash of what the spec asks for of that of which a new version is made.
    pub digest: String,
}

/// What there is to know for keeping the list of versions.
#[derive(Clone)]
pub struct Known<'a> {
    /// How the object wants them, if it does.
    pub succession: Option<&'a Succession>,
    /// Whether what the status shows is of this very object.
    pub is_own: bool,
    /// Whether the object is going.
    pub deleting: bool,
    /// Those that are not there any more.
    pub gone: &'a BTreeSet<String>,
    /// The version of what the vendor has, as it reports it.
    pub version: &'a dyn Fn(&Product) -> Option<String>,
    /// Whether what the vendor has is other than the spec asks for, in that of which a new version is made.
    pub outdated: bool,
}

/// The versions that a status is to show with `to`, after `old`.
pub fn stored(old: Option<&ImageStatus>, to: &Progress, known: &Known<'_>) -> Vec<Version> {
    let none = ImageStatus::default();
    let old = old.unwrap_or(&none);
    let mut versions = if known.is_own { old.versions.clone() } else { vec![] };
    versions.retain(|version| !known.gone.contains(&version.image_id));
    let Some(succession) = known.succession else { return versions };
    if let Some(was) = superseded(old, to, known)
        && versions.iter().all(|version| version.image_id != was.image_id)
        && !known.gone.contains(&was.image_id)
    {
        versions.insert(0, was);
    }
    if let Progress::Ready { intent, product, .. } = to
        && let Some(id) = &product.image_id
        && !known.deleting
        && intent.origin != Origin::Observed
    {
        let place = versions.iter().position(|version| version.image_id == *id);
        let before = place.map(|place| versions.remove(place));
        let is_new = before.is_none();
        let mut newest = before.unwrap_or_default();
        newest.image_id.clone_from(id);
        newest.version = (known.version)(product).or(newest.version);
        newest.imported |= is_new && intent.origin == Origin::Imported;
        // The spec may have gone on since it was made: what it is made from is known when it is made, and when it is as asked.
        let operation = old.operation.as_ref().filter(|operation| operation.token == intent.token);
        let just_made = known.is_own
            && intent.origin == Origin::Made
            && operation.is_none_or(|operation| {
                matches!(operation.state, OperationState::InFlight | OperationState::Running)
            });
        if newest.digest.is_none() && (just_made || !known.outdated) {
            newest.digest = Some(succession.digest.clone());
        }
        versions.insert(0, newest);
    }
    versions
}

/// What the object had before the attempt that it is at now.
fn superseded(old: &ImageStatus, to: &Progress, known: &Known<'_>) -> Option<Version> {
    let (operation, intent) = (old.operation.as_ref()?, to.intent()?);
    let had = matches!(
        operation.state,
        OperationState::Succeeded | OperationState::Unusable | OperationState::Missing
    );
    let origin = super::status::origin(operation);
    if !known.is_own
        || known.deleting
        || !had
        || origin == Origin::Observed
        || operation.token == intent.token
    {
        return None;
    }
    let at_provider = old.at_provider.clone().unwrap_or_default();
    let product = Product { image_id: old.image_id.clone(), at_provider, ..Product::default() };
    Some(Version {
        version: (known.version)(&product).or_else(|| operation.version.clone()),
        image_id: old.image_id.clone()?,
        imported: origin == Origin::Imported,
        digest: None,
    })
}

/// Whether what the object has, its newest version, is to be succeeded: the spec asks for something else than what that was made
/// from. Where that is not known, what the vendor reports decides.
pub fn is_outdated(versions: &[Version], id: &str, succession: &Succession, outdated: bool) -> bool {
    let newest = versions.first().filter(|version| version.image_id == id);
    newest.and_then(|version| version.digest.as_ref()).map_or(outdated, |digest| *digest != succession.digest)
}

/// Those that are too many, the oldest first. What was taken over stays as long as the object: `import` names it.
pub fn surplus(versions: &[Version], keep: Option<usize>) -> Vec<&Version> {
    let keep = keep.unwrap_or(usize::MAX).max(1);
    versions.iter().skip(keep).filter(|version| !version.imported).rev().collect()
}

/// The earlier versions that go with the object, the oldest first.
pub fn predecessors<'v>(versions: &'v [Version], newest: Option<&str>, all: bool) -> Vec<&'v Version> {
    let goes = |version: &&Version| (all || !version.imported) && newest != Some(&version.image_id);
    versions.iter().filter(goes).rev().collect()
}

/// Whether there is room for another one.
pub fn has_room(versions: &[Version]) -> bool {
    versions.len() < VERSIONS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::progress::{Handle, Intent},
        image::Operation,
    };
    use serde_json::json;

    fn version(id: &str, imported: bool, digest: Option<&str>) -> Version {
        let version = Some(format!("v-{id}"));
        Version { image_id: id.into(), version, imported, digest: digest.map(Into::into) }
    }

    fn ids(versions: &[Version]) -> Vec<&str> {
        versions.iter().map(|version| version.image_id.as_str()).collect()
    }

    fn intent(attempt: u32, origin: Origin) -> Intent {
        Intent {
            token: format!("t-{attempt}"),
            attempt,
            since: None,
            references: vec![],
            version: None,
            origin,
        }
    }

    fn ready(id: &str, attempt: u32, origin: Origin) -> Progress {
        let product = Product {
            image_id: Some(id.into()),
            at_provider: json!({ "v": format!("v-{id}") }),
            ..Product::default()
        };
        Progress::Ready { intent: intent(attempt, origin), handle: Handle::image(id), product }
    }

    fn had(
        id: &str,
        attempt: u32,
        action: &str,
        state: OperationState,
        versions: Vec<Version>,
    ) -> ImageStatus {
        let operation: Operation = serde_json::from_value(
            json!({ "action": action, "token": format!("t-{attempt}"), "attempt": attempt, "state": state }),
        )
        .unwrap();
        ImageStatus {
            image_id: Some(id.into()),
            operation: Some(operation),
            at_provider: Some(json!({ "v": format!("v-{id}") })),
            versions,
            ..ImageStatus::default()
        }
    }

    fn known<'a>(succession: Option<&'a Succession>, gone: &'a BTreeSet<String>) -> Known<'a> {
        let version: &dyn Fn(&Product) -> Option<String> =
            &|product| product.at_provider["v"].as_str().map(Into::into);
        Known { succession, is_own: true, deleting: false, gone, version, outdated: true }
    }

    #[test]
    fn what_was_there_is_a_predecessor_from_the_write_that_permits_the_next_one() {
        let (wish, none) = (Succession { keep: None, digest: "d2".into() }, BTreeSet::new());
        let known = known(Some(&wish), &none);
        let next = Progress::Submitting(intent(2, Origin::Made));
        for (action, imported) in [("Make", false), ("Import", true)] {
            // The policy was given with the change: nothing is in the list yet.
            let old = had("a", 1, action, OperationState::Succeeded, vec![]);
            let stored = super::stored(Some(&old), &next, &known);
            assert_eq!(stored, [version("a", imported, None)], "{action}");
            // It is lost neither while the call fails nor when it is made.
            let mut status = ImageStatus { versions: stored, ..ImageStatus::default() };
            let operation = had("", 2, "Make", OperationState::InFlight, vec![]).operation;
            status.operation.clone_from(&operation);
            for to in [
                Progress::New { attempt: 3, tried: Some(intent(2, Origin::Made)) },
                Progress::Submitting(intent(3, Origin::Made)),
            ] {
                assert_eq!(ids(&super::stored(Some(&status), &to, &known)), ["a"]);
            }
            let made = super::stored(Some(&status), &ready("b", 2, Origin::Made), &known);
            assert_eq!(made, [version("b", false, Some("d2")), version("a", imported, None)]);
        }
        let observed = had("a", 1, "Observe", OperationState::Succeeded, vec![]);
        assert_eq!(super::stored(Some(&observed), &next, &known), [], "it is somebody else's");
        let building = had("a", 1, "Make", OperationState::Running, vec![]);
        let same = Progress::Submitting(intent(1, Origin::Made));
        assert_eq!(super::stored(Some(&building), &same, &known), []);
    }

    #[test]
    fn what_came_from_another_object_is_not_kept_and_what_is_gone_neither() {
        let wish = Succession { keep: None, digest: "d".into() };
        let gone = BTreeSet::from(["c".to_owned()]);
        let old = had(
            "a",
            1,
            "Make",
            OperationState::Succeeded,
            vec![version("a", false, Some("d")), version("b", false, None), version("c", false, None)],
        );
        let own = known(Some(&wish), &gone);
        assert_eq!(ids(&stored(Some(&old), &ready("a", 1, Origin::Made), &own)), ["a", "b"]);
        let of_another = Known { is_own: false, ..own.clone() };
        assert_eq!(ids(&stored(Some(&old), &ready("x", 1, Origin::Imported), &of_another)), ["x"]);
        let off = Known { succession: None, ..own };
        assert_eq!(
            ids(&stored(Some(&old), &ready("a", 1, Origin::Made), &off)),
            ["a", "b"],
            "kept as evidence"
        );
    }

    #[test]
    fn a_newest_one_is_told_by_what_it_was_made_from() {
        let none = BTreeSet::new();
        let wish = Succession { keep: None, digest: "new".into() };
        // The spec has changed since; whatever else is written meanwhile, what it was made from stays.
        let old = had("a", 1, "Make", OperationState::Succeeded, vec![version("a", false, Some("old"))]);
        let stored = super::stored(Some(&old), &ready("a", 1, Origin::Made), &known(Some(&wish), &none));
        assert_eq!(stored[0].digest.as_deref(), Some("old"));
        assert!(is_outdated(&stored, "a", &wish, false));
        // The policy was just given: what is there decides, and is noted only when it is as asked.
        let old = had("a", 1, "Make", OperationState::Succeeded, vec![]);
        let stored = super::stored(Some(&old), &ready("a", 1, Origin::Made), &known(Some(&wish), &none));
        assert_eq!(stored[0].digest, None);
        assert!(is_outdated(&stored, "a", &wish, true) && !is_outdated(&stored, "a", &wish, false));
        let as_asked = Known { outdated: false, ..known(Some(&wish), &none) };
        let stored = super::stored(Some(&old), &ready("a", 1, Origin::Made), &as_asked);
        assert!(!is_outdated(&stored, "a", &wish, true), "the vendor only writes it in another way");
    }

    #[test]
    fn what_is_too_many_goes_from_the_oldest_on_and_what_was_taken_over_stays() {
        let versions = [
            version("d", false, None),
            version("c", false, None),
            version("b", false, None),
            version("a", true, None),
        ];
        let surplus =
            |keep| super::surplus(&versions, keep).into_iter().map(|it| &*it.image_id).collect::<Vec<_>>();
        assert_eq!(surplus(None), [""; 0]);
        assert_eq!(surplus(Some(2)), ["b"]);
        assert_eq!(surplus(Some(1)), ["b", "c"]);
        assert_eq!(surplus(Some(0)), ["b", "c"], "never the newest");
        let going = |newest, all| {
            predecessors(&versions, newest, all).into_iter().map(|it| &*it.image_id).collect::<Vec<_>>()
        };
        assert_eq!(going(Some("d"), false), ["b", "c"]);
        assert_eq!(going(None, true), ["a", "b", "c", "d"]);
    }
}
