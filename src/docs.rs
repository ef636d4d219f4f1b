//! What the documentation is generated from: the kinds, the reasons of conditions and the vendors' error codes, as data.

pub mod reasons;

use crate::{
    kinds::KINDS,
    vendors::{aliyun, volcengine, zstack},
    wire::table::Row,
};
use reasons::REASONS;
use serde_json::{Value, json};

/// All of it. `cargo xtask generate` makes pages of it.
pub fn facts() -> Value {
    let kinds = KINDS.iter().map(|kind| {
        let (api, version) = kind.api();
        json!({
            "kind": kind.ties().kind,
            "vendor": kind.vendor(),
            "api": api,
            "version": version,
            "action": kind.action(),
        })
    });
    let errors = errors().into_iter().map(|(service, rows)| {
        let rows = rows.iter().map(|row| {
            json!({
                "code": row.code,
                "part": row.part,
                "reason": row.class.reason(),
                "response": reasons::response(row.class),
                "hint": row.hint,
            })
        });
        json!({ "service": service, "rows": rows.collect::<Vec<_>>() })
    });
    json!({
        "kinds": kinds.collect::<Vec<_>>(),
        "reasons": REASONS,
        "errors": errors.collect::<Vec<_>>(),
    })
}

/// The tables of errors by service, each row once: a service that also knows another one's codes does not repeat them.
pub fn errors() -> Vec<(&'static str, Vec<Row>)> {
    use aliyun::batch_compute::errors::TABLES;
    let batch_compute = TABLES.iter().copied().flatten().copied();
    vec![
        ("Volcengine", volcengine::errors::TABLE.to_vec()),
        ("Alibaba Cloud", aliyun::errors::TABLE.to_vec()),
        (
            "Alibaba Cloud BatchCompute",
            batch_compute.filter(|row| !aliyun::errors::TABLE.contains(row)).collect(),
        ),
        ("ZStack", [zstack::errors::TABLE, zstack::errors::TEXTS].concat()),
    ]
}

#[cfg(test)]
mod tests {
    use super::{
        reasons::{REASONS, response},
        *,
    };
    use crate::wire::Class;
    use std::collections::BTreeSet;

    #[test]
    fn each_reason_is_declared_once_in_both_languages() {
        let mut seen = BTreeSet::new();
        for reason in REASONS {
            assert!(seen.insert(reason.name), "{} is declared twice", reason.name);
            for text in [reason.means, reason.advice] {
                bilingual(reason.name, text);
            }
        }
    }

    #[test]
    fn each_class_of_refusal_is_a_reason_and_has_a_response() {
        use Class::{
            Busy, ClockSkew, Conflict, Credentials, Invalid, NotFound, Permission, Quota, Throttled,
            TokenReused, Unavailable, Unlisted,
        };
        for class in [
            Invalid,
            Conflict,
            TokenReused,
            NotFound,
            Throttled,
            Quota,
            Busy,
            Permission,
            Credentials,
            ClockSkew,
            Unavailable,
            Unlisted,
        ] {
            assert!(REASONS.iter().any(|reason| reason.name == class.reason()), "{class:?}");
            bilingual(class.reason(), response(class));
        }
    }

    #[test]
    fn no_row_of_an_error_table_is_lost() {
        let all: usize = errors().iter().map(|(_, rows)| rows.len()).sum();
        let tables =
            [volcengine::errors::TABLE, aliyun::errors::TABLE, zstack::errors::TABLE, zstack::errors::TEXTS];
        let own = aliyun::batch_compute::errors::TABLES.iter().map(|table| table.len()).sum::<usize>()
            - aliyun::errors::TABLE.len();
        assert_eq!(all, tables.iter().map(|table| table.len()).sum::<usize>() + own);
    }

    fn bilingual(name: &str, text: &str) {
        let (english, chinese) =
            text.split_once(" / ").unwrap_or_else(|| panic!("{name} has one language: {text}"));
        assert!(english.is_ascii() && !chinese.is_ascii(), "{name}: {text}");
    }
}
