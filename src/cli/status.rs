//! `status`: one screen of where image objects stand, once or as it changes.

use super::{
    Answer, Error,
    objects::{Cluster, News, Object, Selected, Target, Told},
    output::{self, BAD, Format, GOOD, QUIET, UNDER_WAY, styled},
};
use anstyle::Style;
use futures::StreamExt;
use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressState, ProgressStyle};
use jiff::Timestamp;
use std::{
    collections::HashMap,
    fmt::Write,
    io::{IsTerminal, stderr, stdout},
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
    /// Stay, and show what changes: with progress bars on a terminal, otherwise as a line for each change; with `-o json` an
    /// object in each line. Ctrl-C ends it.
    #[arg(short, long)]
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
        return watch(&cluster, &selected, options.output).await;
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

/// The vendor's id of an object's image, or how many it has.
pub fn of_image(object: &Object) -> Option<String> {
    object.image_id.clone().or_else(|| object.copies.as_ref().map(|copies| format!("{copies} copies")))
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

/// An Event without what stands above it already: its reason, and what follows its note in parentheses.
fn brief(event: &str, waits: &str) -> String {
    let (told, when) = match event.rfind(" (").filter(|_| event.ends_with(" ago)")) {
        Some(at) => event.split_at(at),
        None => (event, ""),
    };
    match told.split_once(": ") {
        Some((reason, _)) if waits.starts_with(told) => format!("{reason}{when}"),
        _ => event.to_owned(),
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
            of_image(object).unwrap_or_else(|| "-".into()),
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
            let event = brief(event, &waits);
            text += &(styled(QUIET, &format!("    last Event: {event}")) + "\n");
        }
    }
    text
}

async fn watch(cluster: &Cluster, selected: &Selected, format: Format) -> Result<Answer, Error> {
    // A watch that may not be, or is of nothing, is tried again for ever.
    let objects = cluster.objects(selected).await?;
    if let Some(missing) = selected.missing(&objects) {
        return Err(Error::NotFound(missing, cluster.place()));
    }
    if objects.is_empty() {
        output::note(&format!("no image objects in {} as yet", cluster.place()));
    }
    let is_lively = format == Format::Table && stdout().is_terminal() && stderr().is_terminal();
    let bars = is_lively.then(MultiProgress::new);
    let mut screen = Screen::new(cluster.is_wide(), format, bars);
    let (mut news, mut events) = (cluster.watch(selected), Box::pin(cluster.watch_events()));
    let mut clock = tokio::time::interval(TICK);
    loop {
        let next = tokio::select! {
            next = news.next() => next,
            Some(told) = events.next() => {
                screen.told(told);
                continue;
            }
            _ = clock.tick() => {
                screen.tick();
                continue;
            }
            _ = tokio::signal::ctrl_c() => None,
        };
        match next {
            Some(Ok(News::There(object))) => screen.show(*object)?,
            Some(Ok(News::Gone(object))) => screen.gone(&object.key())?,
            Some(Ok(News::Anew(kind))) => screen.anew(&kind),
            Some(Ok(News::Complete(kind))) => screen.complete(&kind)?,
            // It is begun again by itself.
            Some(Err(error)) => screen.say(&format!("the watch was lost, and is begun again: {error}")),
            None => return Ok(Answer::Yes),
        }
    }
}

type Key = (String, String, String);

/// The lines of a watch: on a terminal some for each object, which stay and change; otherwise one for each change.
struct Screen {
    wide: bool,
    format: Format,
    /// `None`: nobody looks.
    bars: Option<MultiProgress>,
    shown: HashMap<Key, Shown>,
    /// By uid.
    events: HashMap<String, (Timestamp, String)>,
    /// How wide the longest title is.
    width: usize,
}

/// An object on the screen.
struct Shown {
    object: Object,
    bar: ProgressBar,
    /// Whether the list that is being read has it, too.
    is_there: bool,
}

/// How often the screen is drawn again, so that its clocks go on.
const TICK: Duration = Duration::from_millis(500);
/// How many characters of a title are shown: what it begins with says most.
const TITLE: usize = 44;

impl Screen {
    fn new(wide: bool, format: Format, bars: Option<MultiProgress>) -> Self {
        Self { wide, format, bars, shown: HashMap::new(), events: HashMap::new(), width: 0 }
    }

    fn title(&self, object: &Object) -> String {
        if self.wide { format!("{}/{}", object.namespace, object.title()) } else { object.title() }
    }

    fn show(&mut self, object: Object) -> Result<(), Error> {
        let key = object.key();
        let text = line(&object);
        if let Some(shown) = self.shown.get_mut(&key) {
            shown.is_there = true;
            let is_same = line(&shown.object) == text && shown.object.uid == object.uid;
            shown.object = object;
            if is_same {
                return Ok(());
            }
        } else {
            let bar = match &self.bars {
                Some(bars) => bars.add(ProgressBar::new(100).with_finish(ProgressFinish::Abandon)),
                None => ProgressBar::hidden(),
            };
            self.shown.insert(key.clone(), Shown { object, bar, is_there: true });
        }
        let shown = &self.shown[&key];
        if self.bars.is_none() {
            return self.print(&shown.object, &styled(style(&shown.object), &text));
        }
        let width = self.title(&shown.object).chars().count().min(TITLE);
        if width > self.width {
            self.width = width;
            // All titles are as wide as the widest.
            self.shown.values().for_each(|shown| self.draw(shown));
        } else {
            self.draw(shown);
        }
        Ok(())
    }

    /// A line of its own for a change.
    fn print(&self, object: &Object, text: &str) -> Result<(), Error> {
        output::print(&match self.format {
            Format::Table => format!("{}  {text}\n", self.title(object)),
            Format::Json => serde_json::to_string(&self.with_event(object))? + "\n",
            Format::Yaml => format!("---\n{}", serde_saphyr::to_string(&self.with_event(object))?),
        })
    }

    fn with_event(&self, object: &Object) -> Object {
        let last_event = self.events.get(&object.uid).map(|(_, text)| text.clone());
        Object { last_event, ..object.clone() }
    }

    fn draw(&self, shown: &Shown) {
        let Shown { object, bar, .. } = shown;
        let colour = match &*object.ready {
            "True" => "green",
            _ if object.stalled => "red",
            _ => "yellow",
        };
        let how_far = match object.percent {
            Some(_) => format!("{{bar:20.{colour}}} {{percent:>3}}%"),
            None if object.reconciling => format!("{{spinner:.{colour}}}"),
            None => String::new(),
        };
        let mut form = format!(
            "{{prefix:{}!.bold}}  {{phase:10.{colour}}}  {{age:>5}}  look {{next:9}}  {how_far}",
            self.width
        );
        // Where all is well a line will do.
        let waits = waits_for(object);
        let message = if waits.is_empty() { of_image(object).unwrap_or_default() } else { waits.clone() };
        form += &if waits.is_empty() {
            " {wide_msg}".to_owned()
        } else {
            format!("\n    {{wide_msg:.{colour}}}")
        };
        let event = self.events.get(&object.uid).map(|(at, text)| (*at, brief(text, &waits)));
        if event.is_some() && !waits.is_empty() {
            form += "\n    {event:.dim}";
        }
        if let Ok(form) = ProgressStyle::with_template(&form) {
            let (phase, next, created) = (object.phase.clone(), object.next_look.text(), object.created);
            let ago = |at| output::ago(at, Timestamp::now());
            // What cannot be written is not seen.
            let write = |out: &mut dyn Write, text: &str| {
                let _ = out.write_str(text);
            };
            let form = form
                .with_key("phase", move |_: &ProgressState, out: &mut dyn Write| write(out, &phase))
                .with_key("next", move |_: &ProgressState, out: &mut dyn Write| write(out, &next))
                .with_key("age", move |_: &ProgressState, out: &mut dyn Write| {
                    write(out, &created.map_or_else(|| "-".into(), ago));
                })
                .with_key("event", move |_: &ProgressState, out: &mut dyn Write| {
                    if let Some((at, text)) = &event {
                        write(out, &format!("last Event, {} ago: {text}", ago(*at)));
                    }
                });
            bar.set_style(form);
        }
        bar.set_prefix(self.title(object));
        bar.set_message(message);
        bar.set_position(object.percent.unwrap_or_default().into());
    }

    fn told(&mut self, told: Told) {
        if self.events.get(&told.uid).is_some_and(|(before, _)| *before >= told.at) {
            return;
        }
        self.events.insert(told.uid.clone(), (told.at, told.text));
        if self.bars.is_some() {
            self.shown
                .values()
                .filter(|shown| shown.object.uid == told.uid)
                .for_each(|shown| self.draw(shown));
        }
    }

    fn gone(&mut self, key: &Key) -> Result<(), Error> {
        let Some(shown) = self.shown.remove(key) else { return Ok(()) };
        self.events.remove(&shown.object.uid);
        match &self.bars {
            Some(bars) => bars.remove(&shown.bar),
            None => self.print(&Object { phase: "Gone".into(), ..shown.object }, "gone")?,
        }
        Ok(())
    }

    fn anew(&mut self, kind: &str) {
        let of_kind = self.shown.values_mut().filter(|shown| shown.object.kind == kind);
        of_kind.for_each(|shown| shown.is_there = false);
    }

    /// What went while nobody watched is gone, too.
    fn complete(&mut self, kind: &str) -> Result<(), Error> {
        let of_kind = self.shown.iter().filter(|(_, shown)| shown.object.kind == kind && !shown.is_there);
        let gone: Vec<_> = of_kind.map(|(key, _)| key.clone()).collect();
        gone.iter().try_for_each(|key| self.gone(key))
    }

    fn tick(&self) {
        if self.bars.is_some() {
            self.shown.values().for_each(|shown| shown.bar.tick());
        }
    }

    fn say(&self, text: &str) {
        match &self.bars {
            // Without a screen there is nobody to tell.
            Some(bars) => drop(bars.println(text)),
            None => output::note(text),
        }
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
    use crate::cli::progress::terminal::Terminal;

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
    fn a_watch_shows_on_a_terminal_what_a_look_shows() {
        for width in [200, 20, 1] {
            let terminal = Terminal::new(width);
            let bars = MultiProgress::with_draw_target(terminal.target());
            let mut screen = Screen::new(false, Format::Table, Some(bars));
            let mut building = object("Building", "False", "Building", "the vendor makes it");
            (building.uid, building.percent, building.reconciling) = ("u-1".into(), Some(45), true);
            building.next_look = super::super::objects::NextLook::Within(15);
            building.created = Some(Timestamp::now());
            screen.told(Told { uid: "u-1".into(), at: Timestamp::now(), text: "Submitted: asked".into() });
            screen.show(building.clone()).unwrap();
            screen.tick();
            let text = terminal.text();
            let parts = [
                "ImageExport/nightly",
                "Building",
                "45%",
                "0s",
                "look < 15s",
                "Building: the vendor makes it",
                "last Event, 0s ago: Submitted: asked",
            ];
            for part in parts.iter().filter(|_| width == 200) {
                assert!(text.contains(part), "{part}: {text}");
            }
            assert!(width == 1 || text.contains("ImageExport/nightly"), "{width}: {text}");

            // What went while nobody watched.
            screen.anew("ImageExport");
            screen.show(Object { name: "other".into(), ..building.clone() }).unwrap();
            screen.complete("ImageComponent").unwrap();
            assert_eq!(screen.shown.len(), 2, "of another kind");
            screen.complete("ImageExport").unwrap();
            assert_eq!(screen.shown.keys().map(|(_, _, name)| &**name).collect::<Vec<_>>(), ["other"]);
        }
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
        // Nothing is said twice.
        for (event, shown) in [
            ("Building: the vendor makes it (3s ago)", "Building (3s ago)"),
            ("Building: the vendor makes", "Building"),
            ("Building: the vendor makes it twice (3s ago)", "Building: the vendor makes it twice (3s ago)"),
            ("Building: asked (twice)", "Building: asked (twice)"),
        ] {
            assert_eq!(brief(event, "Building: the vendor makes it"), shown);
        }
        assert!(lines[4].starts_with("ImageExport/nightly") && lines.len() == 5, "{text}");
    }
}
