//! The query language of listings: `q=field<operator>value`, `start`, `limit`, `sort`, `fields`, `replyWithCount`.

use serde_json::{Map, Value, json};

use super::ApiError;

/// In the order in which the server looks for them, anywhere in a condition: a value that has an earlier one in it is
/// misread.
const OPERATORS: [&str; 10] = ["!?=", "!~=", "!=", ">=", "<=", "?=", "~=", "=", ">", "<"];

/// One condition.
#[derive(Debug, PartialEq, Eq)]
struct Condition<'a> {
    field: &'a str,
    operator: &'a str,
    value: &'a str,
}

fn invalid(what: &str) -> ApiError {
    ApiError::new("SYS.1007", "One or more API argument is invalid", what)
}

fn parse(text: &str) -> Result<Condition<'_>, ApiError> {
    for operator in [" is null", " not null"] {
        if let Some(field) = text.strip_suffix(operator) {
            return Ok(Condition { field: field.trim(), operator, value: "" });
        }
    }
    OPERATORS
        .into_iter()
        .find_map(|operator| {
            let (field, value) = text.split_once(operator)?;
            Some(Condition { field: field.trim(), operator, value })
        })
        .ok_or_else(|| invalid(&format!("invalid query[{text}]")))
}

/// The values of a field, several for one inside a list (`backupStorageRefs.backupStorageUuid`).
fn values<'v>(row: &'v Value, field: &str) -> Vec<&'v Value> {
    match field.split_once('.') {
        None => row.get(field).into_iter().collect(),
        Some((list, field)) => {
            let items = row.get(list).or_else(|| row.get(format!("{list}s"))).and_then(Value::as_array);
            items.into_iter().flatten().filter_map(|item| item.get(field)).collect()
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Condition<'_> {
    fn holds(&self, row: &Value) -> bool {
        let values = values(row, self.field);
        match self.operator {
            " is null" => values.is_empty(),
            " not null" => !values.is_empty(),
            "!=" | "!?=" | "!~=" => !values.is_empty() && !values.iter().any(|value| self.fits(&text(value))),
            _ => values.iter().any(|value| self.fits(&text(value))),
        }
    }

    /// The operator without its negation.
    fn fits(&self, value: &str) -> bool {
        let ordering = match (value.parse::<f64>(), self.value.parse::<f64>()) {
            (Ok(value), Ok(wanted)) => value.partial_cmp(&wanted),
            _ => Some(value.cmp(self.value)),
        };
        let (theirs, ours) = (collated(value), collated(self.value));
        match self.operator {
            "?=" | "!?=" => ours.split(',').any(|wanted| wanted.trim_end() == theirs),
            "~=" | "!~=" => like(&theirs, &ours),
            ">" => ordering.is_some_and(std::cmp::Ordering::is_gt),
            ">=" => ordering.is_some_and(std::cmp::Ordering::is_ge),
            "<" => ordering.is_some_and(std::cmp::Ordering::is_lt),
            "<=" => ordering.is_some_and(std::cmp::Ordering::is_le),
            _ => theirs == ours,
        }
    }
}

/// The database compares texts without case, and without blanks behind them.
fn collated(text: &str) -> String {
    text.trim_end_matches(' ').to_lowercase()
}

/// SQL's LIKE with `%` alone.
fn like(value: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('%');
    let Some(mut rest) = parts.next().and_then(|first| value.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(last)
}

/// Answers a query over rows, which come oldest first and have no other fields than `fields`: a condition on another one is
/// refused.
pub(super) fn answer(
    mut rows: Vec<Value>,
    fields: &[&str],
    parameters: &[(String, String)],
) -> Result<Value, ApiError> {
    let get = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number = |name: &str, default: usize| match get(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| invalid(&format!("{name} must be a number"))),
    };
    let conditions: Result<Vec<_>, _> =
        parameters.iter().filter(|(name, _)| name == "q").map(|(_, condition)| parse(condition)).collect();
    let conditions = conditions?;
    let list = |name: &str| fields.contains(&name) || fields.contains(&format!("{name}s").as_str());
    let unknown = |condition: &&Condition<'_>| {
        let name = condition.field.split_once('.').map_or(condition.field, |(list, _)| list);
        !list(name)
    };
    if let Some(condition) = conditions.iter().find(unknown) {
        return Err(invalid(&format!("unknown queried field[{}]", condition.field)));
    }
    rows.retain(|row| conditions.iter().all(|condition| condition.holds(row)));
    // A plus sign reads as a space when it was not encoded.
    if let Some(sort) = get("sort") {
        let (descending, field) = match sort.strip_prefix('-') {
            Some(field) => (true, field),
            None => (false, sort.trim_start_matches(['+', ' '])),
        };
        // Dates are texts that do not sort; the rows come in their order.
        if field != "createDate" {
            rows.sort_by_key(|row| values(row, field).first().map(|value| text(value)));
        }
        if descending {
            rows.reverse();
        }
    }
    let total = rows.len();
    let (start, limit) = (number("start", 0)?, number("limit", 1000)?);
    let fields: Option<Vec<&str>> = get("fields").map(|fields| fields.split(',').collect());
    let page: Vec<Value> = rows
        .into_iter()
        .skip(start)
        .take(limit)
        .map(|row| match (&fields, row) {
            (Some(fields), Value::Object(row)) => row
                .into_iter()
                .filter(|(name, _)| fields.contains(&name.as_str()))
                .collect::<Map<_, _>>()
                .into(),
            (_, row) => row,
        })
        .collect();
    let is_set = |name| get(name) == Some("true");
    if is_set("count") {
        return Ok(json!({ "total": total }));
    }
    let mut body = json!({ "inventories": page });
    if is_set("replyWithCount") {
        body["total"] = total.into();
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: &[&str] = &["name", "size", "refs", "n"];

    #[test]
    fn conditions_select_rows() {
        let row = |name: &str, size: u64| json!({ "name": name, "size": size, "refs": [{ "uuid": "u1" }] });
        let rows = vec![row("alpha", 5), row("beta", 10), json!({ "name": "gamma" })];
        for (query, expected) in [
            ("name=beta", "beta"),
            ("name!=beta", "alpha gamma"),
            ("name?=alpha,gamma", "alpha gamma"),
            ("name!?=alpha,gamma", "beta"),
            ("name~=%a", "alpha beta gamma"),
            ("name~=al%ha", "alpha"),
            ("name!~=%et%", "alpha gamma"),
            ("size>5", "beta"),
            ("size>=5", "alpha beta"),
            ("size<10", "alpha"),
            ("size<=10", "alpha beta"),
            ("size is null", "gamma"),
            ("size not null", "alpha beta"),
            ("ref.uuid=u1", "alpha beta"),
            ("name=ALPHA  ", "alpha"),
            ("name?=Alpha,GAMMA", "alpha gamma"),
            ("name~=%ET%", "beta"),
        ] {
            let found = answer(rows.clone(), FIELDS, &[("q".into(), query.into())]).unwrap();
            let names: Vec<&str> = found["inventories"]
                .as_array()
                .unwrap()
                .iter()
                .map(|row| row["name"].as_str().unwrap())
                .collect();
            assert_eq!(names.join(" "), expected, "{query}");
        }
        for query in ["nonsense", "colour=red", "name=CentOS>=7", "colours.name=red"] {
            assert!(answer(rows.clone(), FIELDS, &[("q".into(), query.into())]).is_err(), "{query}");
        }
    }

    #[test]
    fn pages_counts_and_fields() {
        let rows: Vec<Value> = (0..5).map(|n| json!({ "n": n, "name": format!("x{n}") })).collect();
        let pairs = |text: &str| form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Vec<_>>();
        let page =
            answer(rows.clone(), FIELDS, &pairs("start=1&limit=2&replyWithCount=true&sort=-name&fields=n"))
                .unwrap();
        assert_eq!(page, json!({ "inventories": [{ "n": 3 }, { "n": 2 }], "total": 5 }));
        assert_eq!(answer(rows, FIELDS, &pairs("count=true")).unwrap(), json!({ "total": 5 }));
    }
}
