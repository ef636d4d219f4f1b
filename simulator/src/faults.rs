//! What goes wrong, for which calls, and when: rules that tests and users set, counted so that runs can be repeated.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One thing that can go wrong with a call.
///
/// In JSON a fault is its name (`"answerLost"`), or its name with parameters (`{"slowAnswer": {"millis": 300}}`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fault {
    /// The vendor acts, then the connection closes without an answer.
    AnswerLost,
    /// The connection closes and the vendor has not acted.
    ConnectionClosed,
    /// No answer until the client gives up.
    Hang {
        /// Whether the vendor acts.
        #[serde(default)]
        effect: bool,
    },
    /// HTTP 429 with the vendor's throttling code; the vendor does not act.
    TooManyRequests,
    /// The vendor's throttling code under HTTP 400; the vendor does not act.
    Throttle,
    /// HTTP 500 with the vendor's code for an internal error.
    InternalError {
        /// Whether the vendor acts all the same.
        #[serde(default)]
        effect: bool,
    },
    /// HTTP 502 with a page of HTML, as a proxy in between answers.
    BadGateway {
        /// Whether the vendor acts all the same.
        #[serde(default)]
        effect: bool,
    },
    /// The vendor acts; its answer is a whole HTTP message with half of the JSON.
    TruncatedBody,
    /// The vendor acts; the connection closes in the middle of the answer's body.
    CutBody,
    /// The vendor acts and answers; then the connection closes without having said so, while a client's pool holds it.
    CloseAfterAnswer,
    /// The vendor acts at once and answers late.
    SlowAnswer {
        /// How much later than usual.
        millis: u64,
    },
    /// HTTP 307; the vendor does not act.
    Redirect {
        /// Where to; the same address when absent.
        #[serde(default)]
        location: Option<String>,
    },
    /// An error of one's own choice in the vendor's envelope.
    VendorError {
        /// HTTP status.
        status: u16,
        /// The vendor's code.
        code: String,
        /// The vendor's sentence.
        #[serde(default)]
        message: String,
        /// Whether the vendor acts all the same.
        #[serde(default)]
        effect: bool,
    },
    /// A listing does not show things made less than so many seconds (of the world's clock) ago.
    ListLag {
        /// Age from which a thing is shown.
        seconds: u64,
    },
    /// Alibaba Cloud ECS: a listing shows things made less than so many seconds (of the world's clock) ago, but not yet their tags,
    /// by which it does not find them either.
    TagLag {
        /// Age from which a thing is shown with its tags.
        seconds: u64,
    },
    /// The gateway's clock is ahead by so many seconds (negative: behind) for this call.
    ClockSkew {
        /// Seconds ahead.
        seconds: i64,
    },
    /// What this call starts ends as the vendor's failure.
    FailBuild,
    /// What this call starts makes no progress and never ends.
    StallBuild,
    /// ZStack: the management node dies that does what this call starts. Nobody has a record of the job any more, and nobody goes
    /// on with it.
    NodeDies {
        /// Whether there is an image already, which stays `Creating` until the vendor gives it up.
        image: bool,
    },
    /// What this call starts is forgotten (a task's or job's record vanishes) some time after the call.
    ForgetTask {
        /// Seconds of the world's clock after the call.
        #[serde(default)]
        after_seconds: u64,
    },
}

impl Fault {
    /// Whether the vendor does what it is asked.
    pub(crate) fn lets_act(&self) -> bool {
        match self {
            Self::ConnectionClosed | Self::TooManyRequests | Self::Throttle | Self::Redirect { .. } => false,
            Self::Hang { effect }
            | Self::InternalError { effect }
            | Self::BadGateway { effect }
            | Self::VendorError { effect, .. } => *effect,
            _ => true,
        }
    }
}

/// Which of the calls that a rule matches it is applied to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct When {
    /// The first so many matching calls are left alone.
    pub skip: u64,
    /// After that, only so many are hit.
    pub first: Option<u64>,
    /// Only every so-manieth is hit (3: the third, the sixth, …).
    pub every: Option<u64>,
    /// Each is hit with this probability, decided by `seed` and the count alone.
    pub chance: Option<f64>,
    /// Makes the chances repeatable.
    pub seed: u64,
}

impl When {
    /// Every matching call.
    pub fn always() -> Self {
        Self::default()
    }

    /// The first `n` matching calls.
    pub fn first(n: u64) -> Self {
        Self { first: Some(n), ..Self::default() }
    }

    /// Every `n`th matching call.
    pub fn every(n: u64) -> Self {
        Self { every: Some(n), ..Self::default() }
    }

    /// Each matching call with probability `p`, repeatable by `seed`.
    pub fn chance(p: f64, seed: u64) -> Self {
        Self { chance: Some(p), seed, ..Self::default() }
    }

    /// Leaves the first `n` matching calls alone.
    #[must_use]
    pub fn after(self, n: u64) -> Self {
        Self { skip: n, ..self }
    }

    /// `count`: which matching call this is, from 1.
    fn hits(&self, count: u64) -> bool {
        let Some(count) = count.checked_sub(self.skip).filter(|count| *count > 0) else { return false };
        self.first.is_none_or(|first| count <= first)
            && self.every.is_none_or(|every| every > 0 && count.is_multiple_of(every))
            && self.chance.is_none_or(|chance| fraction(self.seed, count) < chance)
    }
}

/// A number in [0, 1) that follows from seed and count (`SplitMix64`'s mixing, of which 53 bits are used).
fn fraction(seed: u64, count: u64) -> f64 {
    let bits = crate::ids::mix(seed ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15)) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let (bits, range) = (bits as f64, (1_u64 << 53) as f64);
    bits / range
}

/// A fault, the calls that it is for, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRule {
    /// Only calls to this service (`aliyun-ecs`, `volcengine`, `batchcompute`, `zstack`).
    #[serde(default)]
    pub service: Option<String>,
    /// Only calls of this action.
    #[serde(default)]
    pub action: Option<String>,
    /// Only calls by this access key.
    #[serde(default)]
    pub access_key: Option<String>,
    /// Only calls whose parameters (as the ledger shows them) contain these texts.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// What goes wrong.
    pub fault: Fault,
    /// For which of the matching calls.
    #[serde(default)]
    pub when: When,
}

impl FaultRule {
    /// A rule for every call of every service.
    pub fn new(fault: Fault) -> Self {
        Self {
            service: None,
            action: None,
            access_key: None,
            parameters: BTreeMap::new(),
            fault,
            when: When::always(),
        }
    }

    /// Only for this service.
    #[must_use]
    pub fn service(self, service: impl Into<String>) -> Self {
        Self { service: Some(service.into()), ..self }
    }

    /// Only for this action.
    #[must_use]
    pub fn action(self, action: impl Into<String>) -> Self {
        Self { action: Some(action.into()), ..self }
    }

    /// Only for calls whose parameter contains this text.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.parameters.insert(name.into(), text.into());
        self
    }

    /// Only for some of the matching calls.
    #[must_use]
    pub fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    fn matches(&self, service: &str, identity: &Identity) -> bool {
        self.service.as_deref().is_none_or(|wanted| wanted == service)
            && self.action.as_deref().is_none_or(|wanted| wanted == identity.action)
            && self.access_key.as_ref().is_none_or(|wanted| Some(wanted) == identity.access_key.as_ref())
            && self
                .parameters
                .iter()
                .all(|(name, text)| identity.parameters.get(name).is_some_and(|value| value.contains(text)))
    }
}

/// What a request says about itself before anything of it is checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) action: String,
    pub(crate) access_key: Option<String>,
    pub(crate) parameters: BTreeMap<String, String>,
}

/// A rule with its counts.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleState {
    /// The rule as it was set.
    #[serde(flatten)]
    pub rule: FaultRule,
    /// How many calls matched so far.
    pub seen: u64,
    /// How many of them were hit.
    pub hit: u64,
}

/// What the rules say about one call: at most one fault of the answer, and conditions under which the vendor works.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Decision {
    pub(crate) fault: Option<Fault>,
    pub(crate) conditions: Conditions,
}

/// Faults that change how the vendor works rather than how it answers; they go together with any other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Conditions {
    pub(crate) list_lag_seconds: u64,
    pub(crate) tag_lag_seconds: u64,
    pub(crate) skew_seconds: i64,
    pub(crate) fail_build: bool,
    pub(crate) stall_build: bool,
    pub(crate) forget_after_seconds: Option<u64>,
    /// The node dies, with or without an image.
    pub(crate) node_dies: Option<bool>,
}

impl Decision {
    /// A word for the ledger and the log.
    pub(crate) fn label(&self) -> Option<String> {
        let name = |fault: &Fault| match serde_json::to_value(fault) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
            _ => String::new(),
        };
        let mut words: Vec<String> = self.fault.iter().map(name).collect();
        let conditions = &self.conditions;
        for (set, word) in [
            (conditions.list_lag_seconds > 0, "listLag"),
            (conditions.tag_lag_seconds > 0, "tagLag"),
            (conditions.skew_seconds != 0, "clockSkew"),
            (conditions.fail_build, "failBuild"),
            (conditions.stall_build, "stallBuild"),
            (conditions.forget_after_seconds.is_some(), "forgetTask"),
            (conditions.node_dies.is_some(), "nodeDies"),
        ] {
            if set {
                words.push(word.into());
            }
        }
        (!words.is_empty()).then(|| words.join("+"))
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Rules(Mutex<Vec<RuleState>>);

impl Rules {
    pub(crate) fn set(&self, rules: Vec<FaultRule>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            rules.into_iter().map(|rule| RuleState { rule, seen: 0, hit: 0 }).collect();
    }

    pub(crate) fn states(&self) -> Vec<RuleState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every matching rule counts the call; of the rules that hit, the first with a fault of the answer wins.
    pub(crate) fn decide(&self, service: &str, identity: &Identity) -> Decision {
        let mut decision = Decision::default();
        for state in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if !state.rule.matches(service, identity) {
                continue;
            }
            state.seen += 1;
            if !state.rule.when.hits(state.seen) {
                continue;
            }
            let conditions = &mut decision.conditions;
            match &state.rule.fault {
                Fault::ListLag { seconds } => conditions.list_lag_seconds = *seconds,
                Fault::TagLag { seconds } => conditions.tag_lag_seconds = *seconds,
                Fault::ClockSkew { seconds } => conditions.skew_seconds = *seconds,
                Fault::FailBuild => conditions.fail_build = true,
                Fault::StallBuild => conditions.stall_build = true,
                Fault::ForgetTask { after_seconds } => conditions.forget_after_seconds = Some(*after_seconds),
                Fault::NodeDies { image } => conditions.node_dies = Some(*image),
                fault if decision.fault.is_none() => decision.fault = Some(fault.clone()),
                _ => continue,
            }
            state.hit += 1;
        }
        decision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(when: &When, calls: u64) -> Vec<u64> {
        (1..=calls).filter(|count| when.hits(*count)).collect()
    }

    #[test]
    fn when_picks_calls_by_their_count() {
        for (when, expected) in [
            (When::always(), vec![1, 2, 3, 4, 5, 6]),
            (When::first(2), vec![1, 2]),
            (When::first(2).after(3), vec![4, 5]),
            (When::every(3), vec![3, 6]),
            (When::every(2).after(1), vec![3, 5]),
            (When::every(0), vec![]),
        ] {
            assert_eq!(hits(&when, 6), expected, "{when:?}");
        }
    }

    #[test]
    fn chances_are_repeatable_and_near_their_probability() {
        let when = When::chance(0.1, 7);
        assert_eq!(hits(&when, 5000), hits(&when, 5000));
        assert!((350..650).contains(&hits(&when, 5000).len()));
        assert_ne!(hits(&when, 5000), hits(&When::chance(0.1, 8), 5000));
    }

    #[test]
    fn faults_read_as_names_or_names_with_parameters() {
        let rules: Vec<FaultRule> = serde_json::from_str(
            r#"[{"fault": "answerLost", "action": "A", "when": {"every": 10}},
                {"fault": {"hang": {}}},
                {"fault": {"vendorError": {"status": 403, "code": "X"}}}]"#,
        )
        .unwrap();
        assert_eq!(rules[0], FaultRule::new(Fault::AnswerLost).action("A").when(When::every(10)));
        assert_eq!(rules[1].fault, Fault::Hang { effect: false });
    }

    #[test]
    fn conditions_go_together_with_the_first_fault_that_hits() {
        let rules = Rules::default();
        rules.set(vec![
            FaultRule::new(Fault::ListLag { seconds: 5 }),
            FaultRule::new(Fault::Throttle).when(When::first(1)),
            FaultRule::new(Fault::AnswerLost),
        ]);
        let first = rules.decide("s", &Identity::default());
        assert_eq!((first.fault.clone(), first.conditions.list_lag_seconds), (Some(Fault::Throttle), 5));
        assert_eq!(first.label().unwrap(), "throttle+listLag");
        assert_eq!(rules.decide("s", &Identity::default()).fault, Some(Fault::AnswerLost));
        assert_eq!(
            rules.states().iter().map(|state| (state.seen, state.hit)).collect::<Vec<_>>(),
            [(2, 2), (2, 1), (2, 1)]
        );
    }
}
