//! Every way to lose, delay or spoil an answer, and where it hits.

use super::subject::Calls;
use vendor_simulator::{Fault, FaultRule, When};

/// Which calls a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The call that makes the thing.
    Creating,
    /// The calls that look at it.
    Reading,
    /// The calls that change or delete it.
    Changing,
    /// The calls that look, after the answer to the creating call was lost.
    Recovering,
}

/// A fault at a site.
#[derive(Clone, Debug)]
pub struct Hardship {
    /// For namespaces and messages.
    pub name: String,
    /// Where.
    pub site: Site,
    fault: Fault,
}

/// A name and what it stands for.
type Named = (&'static str, Fault);

/// All faults that hit an answer, and those under which a vendor works differently.
pub static FAULTS: &[Named] = &[
    ("answer-lost", Fault::AnswerLost),
    ("not-sent", Fault::ConnectionClosed),
    ("hang", Fault::Hang { effect: false }),
    ("hang-acted", Fault::Hang { effect: true }),
    ("429", Fault::TooManyRequests),
    ("400-throttle", Fault::Throttle),
    ("500", Fault::InternalError { effect: false }),
    ("500-acted", Fault::InternalError { effect: true }),
    ("502-html", Fault::BadGateway { effect: false }),
    ("502-html-acted", Fault::BadGateway { effect: true }),
    ("truncated-json", Fault::TruncatedBody),
    ("cut-body", Fault::CutBody),
    ("closed-after-answer", Fault::CloseAfterAnswer),
    ("slow", Fault::SlowAnswer { millis: 3000 }),
    ("redirect", Fault::Redirect { location: None }),
    ("list-lag", Fault::ListLag { seconds: 2 }),
    ("forgotten-task", Fault::ForgetTask { after_seconds: 0 }),
    ("clock-skew", Fault::ClockSkew { seconds: 3600 }),
];

/// Where each fault means something.
pub fn hardships((name, fault): &'static Named) -> impl Iterator<Item = Hardship> {
    let sites: &[(Site, &str)] = match fault {
        // These are about what is looked at, and what is begun.
        Fault::ListLag { .. } => &[(Site::Reading, "reading"), (Site::Recovering, "recovering")],
        Fault::ForgetTask { .. } => &[(Site::Creating, "creating"), (Site::Changing, "changing")],
        _ => &[
            (Site::Creating, "creating"),
            (Site::Reading, "reading"),
            (Site::Changing, "changing"),
            (Site::Recovering, "recovering"),
        ],
    };
    sites.iter().map(move |(site, word)| Hardship {
        name: format!("{name}-{word}"),
        site: *site,
        fault: fault.clone(),
    })
}

impl Hardship {
    /// The simulator's rules for it: the first call of each action is hit, or all where it is about how a vendor works.
    pub fn rules(&self, calls: &Calls) -> Vec<FaultRule> {
        let hit = match self.site {
            Site::Creating => &calls.creating,
            Site::Changing => &calls.changing,
            Site::Reading | Site::Recovering => &calls.reading,
        };
        let when = match self.fault {
            Fault::ListLag { .. } => When::always(),
            _ => When::first(1),
        };
        let rule = |fault: &Fault, when: &When, (service, action): &(String, String)| {
            FaultRule::new(fault.clone()).service(service).action(action).when(when.clone())
        };
        let mut rules: Vec<_> = hit.iter().map(|call| rule(&self.fault, &when, call)).collect();
        if self.site == Site::Recovering {
            rules.extend(calls.creating.iter().map(|call| rule(&Fault::AnswerLost, &When::first(1), call)));
        }
        rules
    }
}
