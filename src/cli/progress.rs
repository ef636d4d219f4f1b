//! How far something is that takes a while, for people who wait: on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How far it is of a known whole.
const OF: &str = "{msg}  {wide_bar:.green}  {human_pos} of {human_len}  {per_sec:0}  {eta} left";
/// How far it is, where nobody tells of what.
const SO_FAR: &str = "{spinner:.green} {msg}  {human_pos} read  {per_sec:0}";
/// How often it is drawn again, so that it is seen to be alive.
const TICK: Duration = Duration::from_millis(100);

/// How far something is.
pub struct Progress(ProgressBar);

impl Progress {
    /// Nothing is done yet. `what`: of what, for people. `is_shown`: not beside output for programs.
    pub fn new(what: &str, is_shown: bool) -> Self {
        // It hides itself where that is no terminal.
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self::on(target, what)
    }

    fn on(target: ProgressDrawTarget, what: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, target).with_message(what.to_owned());
        let progress = Self(bar);
        progress.look(SO_FAR);
        progress.0.enable_steady_tick(TICK);
        progress
    }

    /// So much is done, and there is so much in all, where that is known.
    pub fn at(&self, done: u64, total: Option<u64>) {
        if let Some(total) = total {
            if self.0.length().is_none() {
                self.look(OF);
            }
            // What came while it was read was not counted.
            self.0.set_length(total.max(done));
        }
        self.0.set_position(done);
    }

    /// Prints something where both may be on one screen.
    pub fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.0.suspend(print)
    }

    fn look(&self, form: &str) {
        if let Ok(style) = ProgressStyle::with_template(form) {
            self.0.set_style(style);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A terminal that keeps what is written, as it comes.
#[cfg(test)]
pub(super) mod terminal {
    use indicatif::{ProgressDrawTarget, TermLike};
    use std::{
        io,
        sync::{Arc, Mutex, PoisonError},
    };

    /// See the module. It is so many characters wide.
    #[derive(Clone, Debug)]
    pub struct Terminal(pub u16, Arc<Mutex<String>>);

    impl Terminal {
        /// An empty one.
        pub fn new(width: u16) -> Self {
            Self(width, Arc::default())
        }

        /// To draw on.
        pub fn target(&self) -> ProgressDrawTarget {
            ProgressDrawTarget::term_like(Box::new(self.clone()))
        }

        /// Everything that was written, without colours.
        pub fn text(&self) -> String {
            let text = self.1.lock().unwrap_or_else(PoisonError::into_inner);
            anstream::adapter::strip_str(&text).to_string()
        }
    }

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.0
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.write_str("\n")
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.1.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{terminal::Terminal, *};

    /// All that was drawn while it got on like this.
    fn drawn(steps: &[(u64, Option<u64>)]) -> String {
        let terminal = Terminal::new(120);
        let progress = Progress::on(terminal.target(), "ImageComponent");
        for (done, total) in steps {
            progress.at(*done, *total);
            progress.0.force_draw();
        }
        terminal.text()
    }

    #[test]
    fn where_the_whole_is_known_a_bar_shows_how_far_it_is_and_how_long_it_takes() {
        let text = drawn(&[(0, None), (2_500, Some(10_000)), (10_001, Some(10_000))]);
        for part in ["ImageComponent", "█", "2,500 of 10,000", "/s", "left", "10,001 of 10,001"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn where_nobody_tells_the_whole_what_is_done_and_how_fast_is_shown() {
        let text = drawn(&[(1_200, None)]);
        assert!(text.contains("1,200 read") && text.contains("/s"), "{text}");
        assert!(!text.contains('█') && !text.contains("left"), "{text}");
    }
}
