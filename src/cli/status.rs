//! `status`: one screen of where image objects stand, once or as it changes.

use super::{
    Answer, Error,
    objects::{Cluster, News, Object, Selected, Target},
    output::{self, BAD, Format, GOOD, QUIET, UNDER_WAY, styled},
};
use anstyle::Style;
use futures::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    io::{IsTerminal, stderr},
    time::Duration,
};

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Which objects, as KIND or KIND/NAME, with any name of a kind that kubectl takes; none: all.
    /// Examples: `imageexports`, `imgcomp/nginx`
    #[arg(value_name = "KIND[/NAME]")]
    objects: Vec<String>,
    #[command(flatten)]
    target: Target,
    /// Stay, and show what changes: with progress bars on a terminal, as lines otherwise.
    #[arg(short, long, conflicts_with = "output")]
    watch: bool,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// Prints where objects stand.
pub async fn run(options: Options) -> Result<Answer, Error> {
    let selected = Selected::parse(&options.objects)?;
    let cluster = Cluster::connect(&options.target).await?;
    if options.watch {
        return watch(&cluster, &selected).await;
    }
    let mut objects = cluster.objects(&selected).await?;
    if let Some(missing) = selected.missing(&objects) {
        return Err(Error::NotFound(missing, cluster.place()));
    }
    let mut events = cluster.events().await;
    for object in &mut objects {
        object.last_event = events.remove(&object.uid);
    }
    options.output.print(&objects, || {
        if objects.is_empty() {
            return format!("no image objects in {}\n", cluster.place());
        }
        table(&objects, cluster.is_wide(), Timestamp::now())
    })?;
    Ok(Answer::Yes)
}

/// The colour of an object's state.
pub fn style(object: &Object) -> Style {
    match &*object.ready {
        "True" => GOOD,
        _ if object.stalled => BAD,
        _ => UNDER_WAY,
    }
}

/// What an object waits for, in a line: nothing where all is well.
pub fn waits_for(object: &Object) -> String {
    let is_plain = object.ready == "True" && object.reason == "Available";
    match (&*object.reason, &*object.message) {
        _ if is_plain => String::new(),
        ("", _) => "waits for the operator to see it".into(),
        (reason, message) => format!("{reason}: {}", message.replace('\n', " ")),
    }
}

fn table(objects: &[Object], wide: bool, now: Timestamp) -> String {
    let head = ["NAMESPACE", "OBJECT", "READY", "PHASE", "PROGRESS", "AGE", "IMAGE", "NEXT LOOK"];
    let lines = objects.iter().map(|object| {
        let mut cells = vec![
            object.namespace.clone(),
            object.title(),
            object.ready.clone(),
            object.phase.clone(),
            object.percent.map_or_else(|| "-".into(), |percent| format!("{percent}%")),
            object.created.map_or_else(|| "-".into(), |created| output::ago(created, now)),
            object.image_id.clone().unwrap_or_else(|| "-".into()),
            object.next_look.text(),
        ];
        if !wide {
            cells.remove(0);
        }
        cells
    });
    let columns = output::columns(&head[usize::from(!wide)..], lines);
    let mut columns = columns.into_iter();
    let mut text = columns.next().unwrap_or_default() + "\n";
    for (line, object) in columns.zip(objects) {
        text += &(styled(style(object), &line) + "\n");
        let waits = waits_for(object);
        if !waits.is_empty() {
            text += &format!("    {waits}\n");
        }
        if let Some(event) = &object.last_event {
            text += &(styled(QUIET, &format!("    last Event: {event}")) + "\n");
        }
    }
    text
}

async fn watch(cluster: &Cluster, selected: &Selected) -> Result<Answer, Error> {
    let mut screen = Screen::new(cluster.is_wide());
    let mut news = cluster.watch(selected);
    loop {
        let next = tokio::select! {
            next = news.next() => next,
            _ = tokio::signal::ctrl_c() => None,
        };
        match next {
            Some(Ok(News::There(object))) => screen.show(&object)?,
            Some(Ok(News::Gone(object))) => screen.gone(&object)?,
            Some(Ok(News::Complete)) => {}
            // It is begun again by itself.
            Some(Err(error)) => screen.say(&format!("the watch was lost, and is begun again: {error}")),
            None => return Ok(Answer::Yes),
        }
    }
}

/// The lines of a watch: bars on a terminal, otherwise a line for each change.
struct Screen {
    wide: bool,
    bars: MultiProgress,
    shown: HashMap<(String, String, String), (String, ProgressBar)>,
    lively: bool,
}

/// How often a bar is drawn again, so that its clock goes on.
const TICK: Duration = Duration::from_millis(250);

impl Screen {
    fn new(wide: bool) -> Self {
        Self { wide, bars: MultiProgress::new(), shown: HashMap::new(), lively: stderr().is_terminal() }
    }

    fn title(&self, object: &Object) -> String {
        if self.wide { format!("{}/{}", object.namespace, object.title()) } else { object.title() }
    }

    fn show(&mut self, object: &Object) -> Result<(), Error> {
        let text = line(object);
        let key = object.key();
        let title = self.title(object);
        if self.shown.get(&key).is_some_and(|(before, _)| *before == text) {
            return Ok(());
        }
        if !self.lively {
            self.shown.insert(key, (text.clone(), ProgressBar::hidden()));
            return output::print(&format!("{title}  {}\n", styled(style(object), &text)));
        }
        let bars = &self.bars;
        let (before, bar) =
            self.shown.entry(key).or_insert_with(|| (String::new(), bars.add(ProgressBar::new(100))));
        before.clone_from(&text);
        let colour = match &*object.ready {
            "True" => "green",
            _ if object.stalled => "red",
            _ => "yellow",
        };
        let form = match object.percent {
            Some(_) => {
                format!("{{prefix:44}} {{bar:20.{colour}}} {{percent:>3}}%  {{elapsed}}  {{wide_msg}}")
            }
            None if object.reconciling => {
                format!("{{prefix:44}} {{spinner:.{colour}}} {{elapsed}}  {{wide_msg:.{colour}}}")
            }
            None => format!("{{prefix:44}} {{wide_msg:.{colour}}}"),
        };
        if let Ok(form) = ProgressStyle::with_template(&form) {
            bar.set_style(form);
        }
        let since = object.started.or(object.created).unwrap_or_else(Timestamp::now);
        let elapsed = Timestamp::now().duration_since(since).try_into().unwrap_or_default();
        bar.set_elapsed(elapsed);
        bar.set_prefix(title);
        bar.set_message(text);
        bar.set_position(object.percent.unwrap_or_default().into());
        if object.reconciling || object.percent.is_some() {
            bar.enable_steady_tick(TICK);
        } else {
            bar.disable_steady_tick();
        }
        Ok(())
    }

    fn gone(&mut self, object: &Object) -> Result<(), Error> {
        let Some((_, bar)) = self.shown.remove(&object.key()) else { return Ok(()) };
        self.bars.remove(&bar);
        if self.lively {
            return Ok(());
        }
        output::print(&format!("{}  gone\n", self.title(object)))
    }

    fn say(&self, text: &str) {
        // Without a screen there is nobody to tell.
        let _ = self.bars.println(text);
    }
}

fn line(object: &Object) -> String {
    let percent = object.percent.map(|percent| format!("{percent}%")).unwrap_or_default();
    let id = object.image_id.clone().unwrap_or_default();
    let words = [object.phase.clone(), percent, id, waits_for(object)];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(phase: &str, ready: &str, reason: &str, message: &str) -> Object {
        Object {
            kind: "ImageExport".into(),
            name: "nightly".into(),
            namespace: "team".into(),
            phase: phase.into(),
            ready: ready.into(),
            reason: reason.into(),
            message: message.into(),
            ..Object::default()
        }
    }

    #[test]
    fn what_is_well_needs_no_words() {
        assert_eq!(waits_for(&object("Ready", "True", "Available", "the vendor has it")), "");
        let looks_fail = object("Ready", "True", "LookFailed", "looks at it fail now");
        assert_eq!(waits_for(&looks_fail), "LookFailed: looks at it fail now");
        assert_eq!(waits_for(&object("Pending", "Unknown", "", "")), "waits for the operator to see it");
    }

    #[test]
    fn what_an_object_waits_for_stands_below_it() {
        let mut building = object("Building", "False", "Building", "the vendor makes it");
        building.percent = Some(45);
        building.last_event = Some("Submit: asked (3s ago)".into());
        let ready = object("Ready", "True", "Available", "");
        let now = Timestamp::UNIX_EPOCH;
        let text = anstream::adapter::strip_str(&table(&[building, ready], false, now)).to_string();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("OBJECT") && lines[1].contains("45%"), "{text}");
        assert_eq!(lines[2], "    Building: the vendor makes it");
        assert_eq!(lines[3], "    last Event: Submit: asked (3s ago)");
        assert!(lines[4].starts_with("ImageExport/nightly") && lines.len() == 5, "{text}");
    }
}
