//! `wait`: until objects are Ready, or the reason why one will not be.

use super::{
    Answer, Error,
    objects::{Cluster, News, Object, Selected, Target},
    output::{self, BAD, Format, GOOD, styled},
    status::waits_for,
};
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
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
    /// How the answer looks. As JSON or YAML it comes at the end: the objects as `status` shows them.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
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

/// What is waited for, and how it stands.
struct Waiting {
    selected: Selected,
    /// The kinds that have not been read whole yet.
    unread: BTreeSet<String>,
    /// With whether the list that is being read has it, too.
    objects: BTreeMap<(String, String, String), (Object, bool)>,
    output: Format,
}

/// Waits.
pub async fn run(options: Options) -> Result<Answer, Error> {
    let selected = Selected::parse(&options.objects)?;
    let cluster = Cluster::connect(&options.target).await?;
    // Whoever waits for longer waits for ever, and a clock has an end.
    let until = Instant::now() + options.timeout.min(std::time::Duration::from_hours(24 * 365));
    // A watch that may not be, or is of nothing, is tried again until the time is over.
    let there = cluster.objects(&selected).await?;
    if let Some(missing) = selected.missing(&there) {
        return Err(Error::NotFound(missing, cluster.place()));
    }
    if there.is_empty() {
        return Err(Error::NotFound(options.objects.join(" "), cluster.place()));
    }
    let mut news = cluster.watch(&selected);
    let unread = selected.crds().into_iter().map(|crd| crd.spec.names.kind).collect();
    let mut waiting = Waiting { selected, unread, objects: BTreeMap::new(), output: options.output };
    let answer = loop {
        let answer = match timeout_at(until, news.next()).await {
            Ok(Some(Ok(news))) => waiting.hear(news)?,
            // It is begun again by itself.
            Ok(Some(Err(error))) => {
                output::note(&format!("the watch was lost, and is begun again: {error}"));
                None
            }
            Ok(None) | Err(_) => {
                let late = waiting.objects.values().filter(|(object, _)| verdict(object) != Verdict::Ready);
                for (object, _) in late {
                    waiting.say(object, &styled(BAD, &waits_for(object)))?;
                }
                Some(Answer::NotInTime)
            }
        };
        if let Some(answer) = answer {
            break answer;
        }
    };
    if waiting.output != Format::Table {
        let objects: Vec<_> = waiting.objects.values().map(|(object, _)| object).collect();
        waiting.output.print(&objects, String::new)?;
    }
    Ok(answer)
}

impl Waiting {
    /// What follows, if that is known now.
    fn hear(&mut self, news: News) -> Result<Option<Answer>, Error> {
        match news {
            News::There(object) => {
                let (key, now) = (object.key(), verdict(&object));
                let before = self.objects.get(&key).map(|(object, _)| verdict(object));
                match now {
                    Verdict::Failed => self.say(&object, &styled(BAD, &waits_for(&object)))?,
                    Verdict::Ready if before != Some(Verdict::Ready) => {
                        let id = object.image_id.as_deref().unwrap_or("done");
                        self.say(&object, &styled(GOOD, &format!("is Ready: {id}")))?;
                    }
                    _ => {}
                }
                self.objects.insert(key, (*object, true));
                if now == Verdict::Failed {
                    return Ok(Some(Answer::No));
                }
            }
            News::Gone(object) => return self.gone(&object).map(Some),
            News::Anew(kind) => {
                let of_kind = self.objects.values_mut().filter(|(object, _)| object.kind == kind);
                of_kind.for_each(|(_, is_there)| *is_there = false);
            }
            News::Complete(kind) => {
                self.unread.remove(&kind);
                let gone = self.objects.values().find(|(object, is_there)| object.kind == kind && !is_there);
                if let Some((object, _)) = gone.cloned() {
                    return self.gone(&object).map(Some);
                }
                let objects: Vec<_> = self.objects.values().map(|(object, _)| object.clone()).collect();
                if let (true, Some(missing)) = (self.unread.is_empty(), self.selected.missing(&objects)) {
                    output::note(&format!("{missing} was deleted"));
                    return Ok(Some(Answer::No));
                }
            }
        }
        let is_done = self.objects.values().all(|(object, _)| verdict(object) == Verdict::Ready);
        Ok((self.unread.is_empty() && is_done).then_some(Answer::Yes))
    }

    fn gone(&mut self, object: &Object) -> Result<Answer, Error> {
        self.objects.remove(&object.key());
        self.say(object, &styled(BAD, "it was deleted"))?;
        Ok(Answer::No)
    }

    fn say(&self, object: &Object, text: &str) -> Result<(), Error> {
        let text = format!("{} {text}", object.title());
        if self.output == Format::Table {
            return output::print(&(text + "\n"));
        }
        output::note(&text);
        Ok(())
    }
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
    fn a_watch_that_is_begun_again_finds_what_went_and_nothing_else_missing() {
        let object = |kind: &str, ready: &str| Object {
            kind: kind.into(),
            name: "a".into(),
            ready: ready.into(),
            current: true,
            ..Object::default()
        };
        let (component, export) = (object("ImageComponent", "True"), object("ImageExport", "False"));
        let there = |object: &Object| News::There(Box::new(object.clone()));
        let (anew, complete) =
            (|of: &Object| News::Anew(of.kind.clone()), |of: &Object| News::Complete(of.kind.clone()));
        let mut waiting = Waiting {
            selected: Selected::parse(&["imgcomp/a".into(), "imgexp/a".into()]).unwrap(),
            unread: ["ImageComponent".to_owned(), "ImageExport".to_owned()].into(),
            objects: BTreeMap::new(),
            output: Format::Table,
        };
        let first = [there(&component), complete(&component), there(&export), complete(&export)];
        // The watch of one kind is lost, and nothing of the other is told again.
        let again = [anew(&export), there(&export), complete(&export)];
        for news in first.into_iter().chain(again) {
            assert_eq!(waiting.hear(news).unwrap(), None);
        }
        waiting.hear(anew(&component)).unwrap();
        assert_eq!(waiting.hear(complete(&component)).unwrap(), Some(Answer::No), "it went meanwhile");
        waiting.hear(there(&component)).unwrap();
        assert_eq!(waiting.hear(there(&object("ImageExport", "True"))).unwrap(), Some(Answer::Yes));
    }

    #[test]
    fn a_duration_is_written_as_in_manifests() {
        assert_eq!(duration("2h"), Ok(std::time::Duration::from_secs(7200)));
        assert!(duration("-1s").is_err() && duration("soon").is_err());
    }
}
