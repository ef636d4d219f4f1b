//! How a text may come back from a vendor: the one place where both sides of a comparison are made alike.
//!
//! ZStack trims every text of a message; what the others do with white space around a text, with line ends and with
//! composed characters is not documented, and differs between their consoles and APIs. A difference that only such a
//! normalisation makes is no difference: to set it right would be an endless exchange of the same text.

use unicode_normalization::UnicodeNormalization;

/// The form in which texts are compared: composed characters (NFC), line ends as `\n`, no white space around it. Several `\r`
/// before a `\n` are one line end, since whoever turns `\r\n` into `\n` leaves one less of them each time.
pub fn normalised(text: &str) -> String {
    let composed: String = text.nfc().collect();
    let lines = composed.split_inclusive('\n').map(|line| match line.strip_suffix('\n') {
        Some(line) => line.trim_end_matches('\r').to_owned() + "\n",
        None => line.to_owned(),
    });
    lines.collect::<String>().replace('\r', "\n").trim().to_owned()
}

/// Whether two texts are the same but for normalisation.
pub fn same(ours: &str, theirs: &str) -> bool {
    ours == theirs || normalised(ours) == normalised(theirs)
}

/// Whether a text that the spec gives is another one at the vendor; what the spec leaves out is not compared.
pub fn differs(ours: Option<&str>, theirs: &str) -> bool {
    ours.is_some_and(|ours| !same(ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What vendors are known, or suspected, to do to a text.
    const HABITS: &[fn(&str) -> String] = &[
        |text| text.to_owned(),
        |text| text.trim().to_owned(),
        |text| text.trim_end().to_owned(),
        |text| text.replace("\r\n", "\n").replace('\n', "\r\n"),
        |text| text.replace("\r\n", "\n"),
        |text| text.nfc().collect(),
        |text| text.nfd().collect(),
        |text| format!("{text}\n"),
        |text| format!(" {text} "),
    ];

    #[test]
    fn no_habit_of_a_vendor_makes_a_difference_nor_does_one_after_the_other() {
        for text in [
            "",
            "plain",
            "a\nb\n",
            "a\r\nb\r\n",
            "a\r\r\nb\r",
            "  indented\n    more\n\n",
            "café 中文 e\u{301}\n",
            "\u{1100}\u{1161}",
        ] {
            for one in HABITS {
                for other in HABITS {
                    let theirs = other(&one(text));
                    assert!(same(text, &theirs) && same(&theirs, text), "{text:?} came back as {theirs:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_another_text_stays_one() {
        for (ours, theirs) in
            [("a b", "ab"), ("a\n\nb", "a\nb"), ("Golden", "golden"), ("", "x"), ("a\n  b", "a\nb")]
        {
            assert!(!same(ours, theirs), "{ours:?} {theirs:?}");
        }
        assert!(!differs(None, "x") && differs(Some(""), "x") && !differs(Some("x\n"), "x"));
    }
}
