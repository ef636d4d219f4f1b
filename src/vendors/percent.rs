//! How far something is, as vendors tell it.

use serde_json::Value;

/// A number, or a text such as `42` or `100%`: the documents of one vendor have both.
pub fn percent(process: &Value) -> Option<u8> {
    let number = match process {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().trim_end_matches('%').trim().parse().ok()?,
        _ => return None,
    };
    // Between 0 and 100 afterwards, so nothing is cut off.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    number.is_finite().then(|| number.clamp(0.0, 100.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn progress_is_read_as_number_or_text() {
        for (progress, expected) in [
            (json!(45), Some(45)),
            (json!(45.7), Some(45)),
            (json!("100%"), Some(100)),
            (json!(" 7 % "), Some(7)),
            (json!(250), Some(100)),
            (json!("soon"), None),
            (json!(null), None),
            (json!({}), None),
        ] {
            assert_eq!(percent(&progress), expected, "{progress}");
        }
    }
}
