//! What an account's Secret holds, as far as a vendor reads it; and what is wrong with it, before anybody is called.

use super::external::Unusable;
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt::Debug};

/// The keys of a Secret that vendors read. Never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    source: String,
    keys: BTreeMap<String, Vec<u8>>,
}

/// How text gets into a Secret as it is.
const PLAIN: &str =
    "store it as plain UTF-8 text, for example with kubectl create secret generic --from-literal";

impl Credentials {
    /// Tells them from all others, in whatever process. Nothing can be read from it, but a guess can be tried: it is shown to nobody.
    pub fn identity(&self) -> u64 {
        let mut hash = Sha256::new();
        for (key, value) in &self.keys {
            for part in [key.as_bytes(), value] {
                hash.update(part.len().to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().iter().take(8).fold(0, |identity, byte| identity << 8 | u64::from(*byte))
    }

    /// `source` is the Secret's `namespace/name`, for messages.
    pub fn new(source: String, keys: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self { source, keys: keys.into_iter().collect() }
    }

    /// `namespace/name` of the Secret, for messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the key is there, with anything in it.
    pub fn has(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|value| !value.trim_ascii().is_empty())
    }

    /// The value of a key that names who calls; or what to add to which Secret, or what is wrong with what is there. Such
    /// names are never text that was encoded.
    pub fn name(&self, key: &str) -> Result<&str, Unusable> {
        let value = self.get(key)?;
        if is_encoded(value) {
            return Err(self.unusable(
                key,
                "is Base64 of another text: stringData takes the text itself, data takes it encoded once",
            ));
        }
        Ok(value)
    }

    /// The value of a key that has only what a header can hold; or what to add, or what is wrong.
    pub fn get(&self, key: &str) -> Result<&str, Unusable> {
        self.optional(key)?.ok_or_else(|| self.missing(key))
    }

    /// The same for a key that need not be there.
    pub fn optional(&self, key: &str) -> Result<Option<&str>, Unusable> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let text = text.trim();
        if text.starts_with(QUOTES) || text.ends_with(QUOTES) {
            return Err(self.unusable(key, "stands in quotation marks; store it without them"));
        }
        if text.contains(char::is_whitespace) {
            return Err(self.unusable(
                key,
                "has a blank or a line break within it, as when a long line is wrapped; store it as one line",
            ));
        }
        if let Some(odd) = text.chars().find(|char| !char.is_ascii_graphic()) {
            let what =
                format!("holds the character U+{:04X}, which no credentials have; {PLAIN}", u32::from(odd));
            return Err(self.unusable(key, &what));
        }
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// The value of a key as it is, but for line ends after it: in a password, every blank and sign counts.
    pub fn password(&self, key: &str) -> Result<&str, Unusable> {
        let text = self.text(key)?.unwrap_or_default().trim_end_matches(['\r', '\n']);
        if let Some(odd) = text.chars().find(|char| char.is_control()) {
            let what = format!("holds the control character U+{:04X}; {PLAIN}", u32::from(odd));
            return Err(self.unusable(key, &what));
        }
        if text.is_empty() { Err(self.missing(key)) } else { Ok(text) }
    }

    /// Who calls with them, as far as that is no secret: anybody can write another's name beside a secret of his own.
    pub fn caller(&self) -> String {
        let names = self.keys.iter().filter(|(key, _)| is_name(key));
        names.map(|(_, value)| String::from_utf8_lossy(value.trim_ascii())).collect::<Vec<_>>().join("/")
    }

    /// A text without what is secret: names and ids of keys are not.
    pub fn scrub(&self, text: &str) -> String {
        let secrets = self.keys.iter().filter(|(key, _)| !is_name(key));
        let values = secrets.filter_map(|(_, value)| std::str::from_utf8(value).ok()).map(str::trim);
        // What could be a word of any text is not looked for.
        let is_word =
            |value: &str| value.len() < 6 || value.len() < 12 && value.chars().all(char::is_alphabetic);
        values.filter(|value| !is_word(value)).fold(text.to_owned(), |text, value| text.replace(value, "***"))
    }

    /// Text of whatever sort; `None` where the key is not there.
    fn text(&self, key: &str) -> Result<Option<&str>, Unusable> {
        let Some(value) = self.keys.get(key) else { return Ok(None) };
        // Most of UTF-16 is also UTF-8, of every second character.
        if value.starts_with(&[0xff, 0xfe]) || value.starts_with(&[0xfe, 0xff]) || value.contains(&0) {
            return Err(self.unusable(key, &format!("is UTF-16, as some Windows programs write; {PLAIN}")));
        }
        let Ok(text) = std::str::from_utf8(value) else {
            return Err(self.unusable(key, &format!("is not UTF-8; {PLAIN}")));
        };
        if text.contains('\u{feff}') {
            let mark = "holds a byte order mark (U+FEFF), as some Windows programs write";
            return Err(self.unusable(key, &format!("{mark}; {PLAIN}")));
        }
        Ok(Some(text))
    }

    fn missing(&self, key: &str) -> Unusable {
        Unusable::new(
            "SecretKeyMissing",
            format!("Secret {} has no key {key:?}, or it is empty; add it", self.source),
        )
    }

    fn unusable(&self, key: &str, what: &str) -> Unusable {
        Unusable::new("SecretKeyInvalid", format!("key {key:?} of Secret {} {what}", self.source))
    }
}

const QUOTES: [char; 7] = ['"', '\'', '`', '\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}'];

/// Whether a key of a Secret names who calls, and is no secret itself.
fn is_name(key: &str) -> bool {
    matches!(key, "accessKeyId" | "accountName")
}

/// Whether it decodes to text of some length. Random names of the same alphabet decode to bytes that are no text.
fn is_encoded(value: &str) -> bool {
    const SHORTEST: usize = 6;
    STANDARD.decode(value).is_ok_and(|decoded| {
        let text = decoded.trim_ascii();
        text.len() >= SHORTEST && text.iter().all(u8::is_ascii_graphic)
    })
}

impl Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Credentials({})", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(value: &[u8]) -> Credentials {
        Credentials::new("ns/s".into(), [("k".to_owned(), value.to_owned())])
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn what_is_wrong_with_a_value_is_said_before_anybody_is_called() {
        let token = "dG9rZW4tdG9rZW4t\ndG9rZW4=";
        for (value, what) in [
            (&b"\xef\xbb\xbfLTAI"[..], "byte order mark"),
            (&[&[0xff, 0xfe], &*utf16("LTAI")].concat(), "UTF-16"),
            (&utf16("LTAI"), "UTF-16"),
            (b"\"LTAI\"", "quotation marks"),
            (b"'LTAI'\n", "quotation marks"),
            ("“LTAI”".as_bytes(), "quotation marks"),
            (token.as_bytes(), "line break"),
            (b"LT AI", "blank"),
            (b"LT\tAI", "blank"),
            ("LTAI\u{200b}".as_bytes(), "U+200B"),
            ("LTÄI".as_bytes(), "U+00C4"),
            (b"LT\x7fAI", "U+007F"),
            (b"LTAI\xff", "not UTF-8"),
        ] {
            let secret = secret(value);
            for wrong in
                [secret.get("k").map(drop), secret.optional("k").map(drop), secret.name("k").map(drop)]
            {
                let unusable = wrong.unwrap_err();
                assert_eq!(unusable.reason, "SecretKeyInvalid", "{value:?}");
                assert!(unusable.message.contains("key \"k\" of Secret ns/s"), "{unusable}");
                assert!(unusable.message.contains(what), "{value:?}: {unusable}");
            }
        }
        for empty in ["", " \n", "\t"] {
            assert_eq!(secret(empty.as_bytes()).optional("k"), Ok(None));
            assert_eq!(secret(empty.as_bytes()).get("k").unwrap_err().reason, "SecretKeyMissing");
        }
    }

    #[test]
    fn a_name_that_was_encoded_twice_is_none() {
        for plain in [
            "LTAI5tAbCdEfGhIjKlMnOpQr",
            "AKLTYTg1ZDQ3N2Q4NDZhNGY2Mzk5ZDdhNzQ4YjU0NTdmYzg",
            "simulator",
            "admin",
        ] {
            for plain in [plain.to_owned(), format!("{plain}\n")] {
                assert_eq!(secret(plain.as_bytes()).name("k"), Ok(plain.trim()));
                let encoded = STANDARD.encode(&plain);
                if plain.len() > 6 {
                    let unusable = secret(encoded.as_bytes()).name("k").unwrap_err();
                    assert!(unusable.message.contains("Base64"), "{unusable}");
                }
            }
        }
        // Keys of some vendors are encoded text by themselves.
        let key = STANDARD.encode("6591a089a1fc404099e4f8b12f7a1754");
        assert_eq!(secret(key.as_bytes()).get("k"), Ok(&*key));
    }

    #[test]
    fn in_a_password_every_sign_counts() {
        for password in [" a b ", "\"quoted\"", "päss wörd", "cGFzc3dvcmQ="] {
            assert_eq!(secret(format!("{password}\r\n").as_bytes()).password("k"), Ok(password));
        }
        for (value, what) in [
            (&b"\xef\xbb\xbfpassword"[..], "byte order mark"),
            (&utf16("password"), "UTF-16"),
            (b"pass\nword", "control character"),
            (b"\xff", "not UTF-8"),
        ] {
            let unusable = secret(value).password("k").unwrap_err();
            assert!(unusable.message.contains(what), "{unusable}");
        }
    }
}
