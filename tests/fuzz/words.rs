//! Texts that are more likely than others to be misread.

use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value};

/// What encodings, lists, lines and paths give a meaning to, what looks encoded already, and other alphabets.
const AWKWARD: &[&str] = &[
    "",
    " ",
    "+",
    "%",
    "%20",
    "%2B",
    "%zz",
    "&",
    "=",
    ";",
    "#",
    "?",
    "/",
    "..",
    "/../",
    "\\",
    "\"",
    "'",
    "<",
    ">",
    "{",
    "}",
    "[",
    "]",
    "~",
    "*",
    "!",
    "$",
    "(",
    ")",
    ",",
    ":",
    "@",
    "|",
    "^",
    "`",
    "\r\n",
    "\n",
    "\t",
    "\0",
    "é",
    "镜像",
    "😀",
    "\u{a0}",
    "\u{202f}",
    "\u{feff}",
    "\u{301}",
    "a",
    "Z",
    "0",
    "-",
    "_",
    ".",
    "null",
    "true",
    "1e999",
    "-1",
    "99999999999999999999",
];

/// Pieces of a grammar in any order, and now and then something else.
pub fn pieces(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        12 => prop::sample::select(of).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => prop::sample::select(AWKWARD).prop_map(str::to_owned),
    ];
    vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// Any text.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => vec(prop::sample::select(AWKWARD), 0..8).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
        1 => "[a-zA-Z0-9-]{1,40}",
    ]
}

/// Any text without what no HTTP library sends in a header or a URL.
pub fn plain_text() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.chars().filter(|char| !char.is_control()).collect())
}

/// What a key may be made of.
pub fn key() -> impl Strategy<Value = String> {
    "[!-~]{1,60}"
}

/// Any JSON, not too deep.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
        "20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|\\+08:00)".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((text(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// JSON that was in order, with up to three places changed: another value, or none, or a list of it.
pub fn spoiled(whole: Value) -> impl Strategy<Value = Value> {
    vec((any::<prop::sample::Index>(), 0..6_u8, json()), 0..4).prop_map(move |changes| {
        let mut value = whole.clone();
        for (place, how, other) in changes {
            let mut pointers = vec![];
            places(&value, &mut String::new(), &mut pointers);
            let pointer = place.get(&pointers).clone();
            spoil(&mut value, &pointer, how, other);
        }
        value
    })
}

fn places(value: &Value, at: &mut String, found: &mut Vec<String>) {
    found.push(at.clone());
    let mut go = |name: &str, inner: &Value| {
        let length = at.len();
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        places(inner, at, found);
        at.truncate(length);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, inner)| go(name, inner)),
        Value::Array(values) => values.iter().enumerate().for_each(|(at, inner)| go(&at.to_string(), inner)),
        _ => {}
    }
}

fn spoil(value: &mut Value, pointer: &str, how: u8, other: Value) {
    if how == 0
        && let Some((parent, name)) = pointer.rsplit_once('/')
        && let Some(Value::Object(fields)) = value.pointer_mut(parent)
    {
        fields.remove(&name.replace("~1", "/").replace("~0", "~"));
        return;
    }
    let Some(place) = value.pointer_mut(pointer) else { return };
    *place = match (how, place.take()) {
        (1, old) => Value::Array(vec![old.clone(), old]),
        (2, Value::Number(number)) => Value::String(number.to_string()),
        (2, Value::Array(values)) => values.into_iter().next().unwrap_or_default(),
        (3, Value::String(text)) => Value::String(text.to_uppercase() + &text),
        _ => other,
    };
}
