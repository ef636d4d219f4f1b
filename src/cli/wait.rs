//! `wait`: until objects are Ready, or the reason why one will not be.

use super::{
    Answer, Error,
    objects::{Cluster, News, Object, Selected, Target},
    output::{self, BAD, GOOD, styled},
    status::waits_for,
};
use futures::StreamExt;
use std::collections::BTreeMap;
use tokio::time::{Instant, timeout_at};

/// What `wait` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which objects, as KIND or KIND/NAME. Examples: `imageexports`, `imgcomp/nginx`
    #[arg(value_name = "KIND[/NAME]", required = true)]
    objects: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// How long to wait. Examples: `90s`, `2h`
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = duration)]
    timeout: std::time::Duration,
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|error| format!("{error}; write it like 90s or 2h"))?;
    span.try_into().map_err(|_| "must not be negative".into())
}

/// How it stands with an object that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ready,
    /// Nothing goes on without a person.
    Failed,
    NotYet,
}

/// A status that speaks of an older spec says nothing about this one.
fn verdict(object: &Object) -> Verdict {
    match &*object.ready {
        _ if !object.current => Verdict::NotYet,
        "True" => Verdict::Ready,
        _ if object.stalled || object.reason == "Suspended" => Verdict::Failed,
        _ => Verdict::NotYet,
    }
}

/// Waits.
pub async fn run(options: Options) -> Result<Answer, Error> {
    let selected = Selected::parse(&options.objects)?;
    let cluster = Cluster::connect(&options.target).await?;
    let until = Instant::now() + options.timeout;
    let mut news = cluster.watch(&selected);
    let mut incomplete = selected.kinds().count();
    let mut waiting: BTreeMap<_, Object> = BTreeMap::new();
    let mut seen = vec![];
    loop {
        match timeout_at(until, news.next()).await {
            Ok(Some(Ok(News::There(object)))) => {
                let verdict = verdict(&object);
                if verdict == Verdict::Failed {
                    return failed(&object, &waits_for(&object));
                }
                seen.push((*object).clone());
                let was_waiting = waiting.remove(&object.key()).is_some();
                match verdict {
                    Verdict::Ready if was_waiting || incomplete > 0 => output::print(&format!(
                        "{} {}\n",
                        object.title(),
                        styled(GOOD, &format!("is Ready: {}", object.image_id.as_deref().unwrap_or("done")))
                    ))?,
                    Verdict::Ready => {}
                    _ => drop(waiting.insert(object.key(), *object)),
                }
            }
            Ok(Some(Ok(News::Gone(object)))) => return failed(&object, "it was deleted"),
            Ok(Some(Ok(News::Complete))) => {
                incomplete = incomplete.saturating_sub(1);
                if incomplete == 0 {
                    if let Some(missing) = selected.missing(&seen) {
                        return Err(Error::NotFound(missing, cluster.place()));
                    }
                    if seen.is_empty() {
                        return Err(Error::NotFound(options.objects.join(" "), cluster.place()));
                    }
                    seen.clear();
                }
            }
            // It is begun again by itself; what keeps it from that is told when the time is over.
            Ok(Some(Err(error))) => tracing::debug!(%error, "the watch is begun again"),
            Ok(None) | Err(_) => {
                for object in waiting.values() {
                    output::print(&format!("{} {}\n", object.title(), styled(BAD, &waits_for(object))))?;
                }
                return Ok(Answer::NotInTime);
            }
        }
        if incomplete == 0 && waiting.is_empty() {
            return Ok(Answer::Yes);
        }
    }
}

fn failed(object: &Object, why: &str) -> Result<Answer, Error> {
    output::print(&format!("{} {}\n", object.title(), styled(BAD, why)))?;
    Ok(Answer::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_present_spec_counts() {
        let object = |ready: &str, reason: &str, stalled, current| Object {
            ready: ready.into(),
            reason: reason.into(),
            stalled,
            current,
            ..Object::default()
        };
        assert_eq!(verdict(&object("True", "Available", false, true)), Verdict::Ready);
        assert_eq!(verdict(&object("True", "Available", false, false)), Verdict::NotYet);
        assert_eq!(verdict(&object("False", "BuildFailed", true, true)), Verdict::Failed);
        assert_eq!(verdict(&object("False", "BuildFailed", true, false)), Verdict::NotYet);
        assert_eq!(verdict(&object("False", "Suspended", false, true)), Verdict::Failed);
        assert_eq!(verdict(&object("False", "Building", false, true)), Verdict::NotYet);
    }

    #[test]
    fn a_duration_is_written_as_in_manifests() {
        assert_eq!(duration("2h"), Ok(std::time::Duration::from_secs(7200)));
        assert!(duration("-1s").is_err() && duration("soon").is_err());
    }
}
