//! `explain CODE`: the vendors' error tables and the reasons of conditions, one code at a time.

use super::{
    Answer, Error,
    output::{BAD, Format, GOOD, HEADING, QUIET, styled},
};
use crate::docs::{
    self,
    reasons::{Acts, REASONS, response},
};
use serde::Serialize;

/// What `explain` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// A vendor's error code, what it said instead of one, or the reason of a condition.
    /// Examples: `InvalidImageName.Duplicated`, `SYS.1006`, `OutcomeUnknown`
    code: String,
    /// Only codes of this vendor, by a part of its name. Example: `zstack`
    #[arg(long, value_name = "NAME")]
    vendor: Option<String>,
    /// The language; the locale's, if it is one of these, otherwise English.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// How the answer looks.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// The languages that the tables have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// The locale's, as POSIX finds it.
    fn of_locale(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set);
        if locale.is_some_and(|locale| locale.starts_with("zh")) { Self::Zh } else { Self::En }
    }

    /// Its half of a text in both.
    fn of(self, text: &str) -> String {
        let (english, chinese) = text.split_once(" / ").unwrap_or((text, text));
        if self == Self::Zh { chinese } else { english }.to_owned()
    }

    fn labels(self) -> [&'static str; 6] {
        match self {
            Self::En => ["where", "message", "reason", "meaning", "operator", "you"],
            Self::Zh => ["来源", "消息", "原因", "含义", "Operator", "您可以"],
        }
    }
}

/// What a code or reason means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// As the table has it: the code, which may stand for a family (`Throttling.*`), or the reason.
    pub code: String,
    /// Whose code it is, or whose conditions have the reason.
    pub source: String,
    /// What the vendor's message has to contain, where the code alone does not tell.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub message: &'static str,
    /// The reason of the condition that follows.
    pub reason: &'static str,
    /// What the reason means.
    pub meaning: String,
    /// What the operator does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub operator: String,
    /// What a person can do.
    pub advice: String,
    /// Whether nothing happens before a person has acted.
    pub needs_a_person: bool,
}

/// Everything that a code or reason means, at all vendors or those with `vendor` in their name.
pub fn explain(code: &str, vendor: Option<&str>, language: Language) -> Vec<Explanation> {
    let declared = |name: &str| REASONS.iter().find(|reason| reason.name == name);
    let reasons = declared(code).filter(|_| vendor.is_none()).map(|reason| Explanation {
        code: reason.name.into(),
        source: format!("{:?}", reason.of),
        message: "",
        reason: reason.name,
        meaning: language.of(reason.means),
        operator: String::new(),
        advice: language.of(reason.advice),
        needs_a_person: reason.acts == Acts::Person,
    });
    let of_vendor =
        |service: &str| vendor.is_none_or(|vendor| service.to_lowercase().contains(&vendor.to_lowercase()));
    let services = docs::errors().into_iter().filter(|(service, _)| of_vendor(service));
    let rows = services.flat_map(|(service, rows)| {
        let mut is_answered = false;
        let fitting = rows.into_iter().filter(|row| row.explains(code)).take_while(move |row| {
            // What asks for no message answers for the code, whatever comes later in the table.
            let before = is_answered;
            is_answered |= row.part.is_empty();
            !before
        });
        fitting.map(move |row| {
            let reason = declared(row.class.reason());
            Explanation {
                code: if row.code.is_empty() { row.part } else { row.code }.into(),
                source: service.into(),
                message: if row.code.is_empty() { "" } else { row.part },
                reason: row.class.reason(),
                meaning: reason.map(|reason| language.of(reason.means)).unwrap_or_default(),
                operator: language.of(response(row.class)),
                advice: language.of(row.hint),
                needs_a_person: reason.is_some_and(|reason| reason.acts == Acts::Person),
            }
        })
    });
    reasons.into_iter().chain(rows).collect()
}

/// Codes and reasons that whoever wrote `code` may have meant, the likeliest first.
fn similar(code: &str) -> Vec<String> {
    let wanted = code.to_lowercase();
    let rows = docs::errors().into_iter().flat_map(|(_, rows)| rows.into_iter().map(|row| row.code));
    let mut known: Vec<_> = rows.chain(REASONS.iter().map(|reason| reason.name)).collect();
    known.retain(|name| !name.is_empty());
    known.sort_unstable();
    known.dedup();
    let mut close: Vec<_> = known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.85)
        .collect();
    close.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    close.into_iter().take(5).map(|(_, name)| name.to_owned()).collect()
}

/// Prints what a code means.
pub fn run(options: &Options) -> Result<Answer, Error> {
    let language = options.lang.unwrap_or_else(|| Language::of_locale(|name| std::env::var(name).ok()));
    let found = explain(&options.code, options.vendor.as_deref(), language);
    if found.is_empty() {
        let similar = similar(&options.code);
        let meant = match &similar[..] {
            [] => "; an unknown code is never final: the operator tries again, slowly".to_owned(),
            some => format!("; did you mean {}?", some.join(", ")),
        };
        return Err(Error::UnknownCode(options.code.clone(), meant));
    }
    options.output.print(&found, || {
        let texts: Vec<_> = found.iter().map(|it| text(it, language)).collect();
        texts.join("\n")
    })?;
    Ok(Answer::Yes)
}

fn text(it: &Explanation, language: Language) -> String {
    let [source, message, reason, meaning, operator, advice] = language.labels();
    let mut text = styled(HEADING, &it.code) + "\n";
    // Characters of Chinese are two columns wide.
    let width = |label: &str| label.chars().map(|char| if char.is_ascii() { 1 } else { 2 }).sum::<usize>();
    let widest = language.labels().map(width).into_iter().max().unwrap_or_default();
    let mut line = |label: &str, value: &str| {
        if !value.is_empty() {
            let space = " ".repeat(widest.saturating_sub(width(label)));
            text += &format!("  {}{space}  {value}\n", styled(QUIET, label));
        }
    };
    line(source, &it.source);
    line(message, it.message);
    line(reason, &styled(if it.needs_a_person { BAD } else { GOOD }, it.reason));
    line(meaning, &it.meaning);
    line(operator, &it.operator);
    line(advice, &it.advice);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_and_reason_can_be_explained_in_both_languages() {
        for (service, rows) in docs::errors() {
            for row in rows {
                let code = if row.code.is_empty() { row.part.into() } else { row.code.replace('*', "X") };
                for language in [Language::En, Language::Zh] {
                    let found = explain(&code, Some(service), language);
                    let it = found.iter().find(|it| it.message == row.part || row.code.is_empty());
                    let it = it.unwrap_or_else(|| panic!("{service}: {code} is not explained: {found:?}"));
                    assert!(!it.meaning.is_empty() && !it.advice.is_empty(), "{it:?}");
                    assert_eq!(it.meaning.is_ascii(), language == Language::En, "{it:?}");
                }
            }
        }
        for reason in REASONS {
            let found = explain(reason.name, None, Language::Zh);
            assert!(found.iter().any(|it| it.reason == reason.name && !it.advice.is_ascii()), "{found:?}");
        }
    }

    #[test]
    fn a_family_explains_its_members_and_a_typo_is_answered() {
        let found = explain("Throttling.User", Some("alibaba"), Language::En);
        assert!(found.iter().all(|it| it.reason == "Throttled") && !found.is_empty(), "{found:?}");
        assert!(
            explain("OutcomeUnknown", Some("zstack"), Language::En).is_empty(),
            "a reason is no vendor's"
        );
        assert!(explain("NoSuchThing", None, Language::En).is_empty());
        assert_eq!(similar("OutcomUnknown").first().map(String::as_str), Some("OutcomeUnknown"));
    }

    #[test]
    fn what_is_said_of_a_code_stands_in_one_column() {
        let found = explain("QuotaExceeded.Image", None, Language::En);
        let text = anstream::adapter::strip_str(&text(&found[0], Language::En)).to_string();
        for line in text.lines().skip(1) {
            let (label, value) = line.split_at(12);
            assert!(label.ends_with("  ") && !value.starts_with(' '), "{text}");
        }
        assert!(text.lines().count() > 3, "{text}");
    }

    #[test]
    fn the_locale_chooses_the_language() {
        let of = |all: &'static [(&str, &str)]| {
            Language::of_locale(|name| {
                all.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8")]), Language::Zh);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")]), Language::En);
        assert_eq!(of(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "")]), Language::Zh);
        assert_eq!(of(&[]), Language::En);
    }
}
