//! Answers as XML: objects are elements, a list repeats its element.

use serde_json::Value;

pub(super) fn write(root: &str, body: &Value) -> String {
    format!("<?xml version='1.0' encoding='UTF-8'?>{}", element(root, body))
}

fn element(name: &str, value: &Value) -> String {
    match value {
        Value::Array(items) => items.iter().map(|item| element(name, item)).collect(),
        Value::Object(fields) => {
            let inside: String = fields.iter().map(|(name, value)| element(name, value)).collect();
            format!("<{name}>{inside}</{name}>")
        }
        Value::Null => String::new(),
        Value::String(text) => format!("<{name}>{}</{name}>", escape(text)),
        other => format!("<{name}>{other}</{name}>"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
