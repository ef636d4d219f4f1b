//! What a distribution shows: its status, made from those of its copies.

use super::{
    DistributionStatus, ImageDistribution, ROWS, Row,
    state::State,
    steps::{Copy, Wanted, is_deleting, request, steps, wanted},
};
use crate::{
    engine::status::{Detail, Outlook, READY, RECONCILING, STALLED, condition},
    image::{FINALIZER, Phase},
    vendors::aliyun::image_copy::AliyunImageCopy,
};
use jiff::Timestamp;
use kube::Resource;

/// How many regions a message names.
const NAMED: usize = 10;

/// Something about a copy that is not in it.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// The copy's name.
    pub(super) name: String,
    /// What is wrong.
    pub(super) detail: Detail,
}

/// The status to store, or `None` where the stored one already says so, and what there is to know besides that all is well.
pub(super) fn status(
    distribution: &ImageDistribution,
    copies: &[Copy],
    troubles: &[Trouble],
    now: Timestamp,
) -> (Option<DistributionStatus>, Option<Detail>) {
    let none = DistributionStatus::default();
    let old = distribution.status.as_ref().unwrap_or(&none);
    // What is being deleted wants nothing.
    let wanted = if is_deleting(distribution) { vec![] } else { wanted(distribution) };
    let view = View::new(&wanted, copies, troubles);
    let (detail, all_is_well) = view.detail(distribution, copies);
    let generation = distribution.metadata.generation.unwrap_or_default();
    let (outlook, reason, message) = match &detail {
        Some(detail) => (detail.outlook, &*detail.reason, &*detail.message),
        None => (Outlook::Ready, "Available", &*all_is_well),
    };
    let conditions = [(READY, Outlook::Ready), (RECONCILING, Outlook::GoesOn), (STALLED, Outlook::Stalled)];
    let conditions = conditions.map(|(type_, of)| {
        condition(type_, outlook == of, reason, message, generation, &old.conditions, now)
    });
    let begun = view.rows.iter().any(|(_, there)| *there);
    let mut new = DistributionStatus {
        observed_generation: Some(generation),
        phase: Some(match outlook {
            _ if is_deleting(distribution) => Phase::Deleting,
            Outlook::Ready => Phase::Ready,
            Outlook::Stalled => Phase::Failed,
            Outlook::GoesOn | Outlook::Suspended if begun => Phase::Building,
            Outlook::GoesOn | Outlook::Suspended => Phase::Pending,
        }),
        copies: Some(format!("{}/{}", view.ready, distribution.spec.regions.len())),
        regions: view.rows.into_iter().map(|(row, _)| row).collect(),
        last_handled_reconcile_at: match request(distribution) {
            Some(asked) => Some(asked.to_owned()),
            None => old.last_handled_reconcile_at.clone(),
        },
        conditions: conditions.into(),
    };
    new.regions.truncate(ROWS);
    for condition in &mut new.conditions {
        condition.message = condition.message.chars().take(32_768).collect();
    }
    ((new != *old).then_some(new), detail)
}

/// All copies, as they are shown.
struct View {
    /// With whether its object is there.
    rows: Vec<(Row, bool)>,
    ready: usize,
    of: usize,
    /// What needs a person: a reason for each, and a sentence.
    stalled: Vec<(String, String)>,
    /// What goes on by itself, in words.
    under_way: Vec<String>,
    /// What is being deleted, in words.
    leaving: Vec<String>,
}

impl View {
    fn new(wanted: &[Wanted], copies: &[Copy], troubles: &[Trouble]) -> Self {
        let (of, kind) = (wanted.len(), AliyunImageCopy::kind(&()));
        let mut view =
            Self { rows: vec![], ready: 0, of, stalled: vec![], under_way: vec![], leaving: vec![] };
        for Wanted { name, spec } in wanted {
            let region = spec.for_provider.destination_region_id.clone().unwrap_or_default();
            let copy = copies.iter().find(|copy| copy.name == *name);
            let trouble = troubles.iter().find(|trouble| trouble.name == *name);
            let mut row = Row { region_id: region.clone(), name: name.clone(), ..Row::default() };
            row.phase = Some(Phase::Pending);
            let state = copy.and_then(|copy| copy.object.as_deref()).map(|object| {
                row.image_id = object.status.as_ref().and_then(|status| status.image_id.clone());
                State::of(object)
            });
            if let Some(state) = &state {
                row.phase = Some(state.phase);
                row.reason =
                    Some(state.reason.to_owned()).filter(|reason| !state.is_ready && !reason.is_empty());
            }
            if let Some(Trouble { detail, .. }) = trouble {
                row.reason = Some(detail.reason.clone());
                view.stalled.push((detail.reason.clone(), format!("{region}: {}", detail.message)));
            } else {
                match (copy, &state) {
                    (None, _) => view.under_way.push(format!("{region} waits for its turn")),
                    (Some(_), None) => view.stalled.push((
                        "CopyStalled".into(),
                        format!("{region}: {kind} {name} cannot be read; see its conditions"),
                    )),
                    (_, Some(state)) if state.is_ready => view.ready += 1,
                    (_, Some(state)) if state.goes_on => {
                        view.under_way.push(format!("{region}: {:?}", state.phase));
                    }
                    (_, Some(state)) => view.stalled.push(stalled(&region, name, state)),
                }
            }
            view.rows.push((row, copy.is_some()));
        }
        for copy in copies.iter().filter(|copy| !wanted.iter().any(|wanted| wanted.name == copy.name)) {
            let object = copy.object.as_deref();
            let status = object.and_then(|object| object.status.as_ref());
            let region = object.and_then(|object| object.spec.for_provider.destination_region_id.clone());
            let region_id = region.unwrap_or_default();
            let state = object.map(State::of);
            let place = if region_id.is_empty() { &copy.name } else { &region_id };
            match &state {
                Some(state) if !state.goes_on && !state.is_ready => {
                    view.stalled.push(stalled(place, &copy.name, state));
                }
                Some(state) if state.lingers => {
                    view.leaving.push(format!("{place} ({})", said(&copy.name, state)));
                }
                _ => view.leaving.push(place.clone()),
            }
            let row = Row {
                image_id: status.and_then(|status| status.image_id.clone()),
                phase: Some(Phase::Deleting),
                reason: state.map(|state| state.reason.to_owned()).filter(|reason| !reason.is_empty()),
                region_id,
                name: copy.name.clone(),
            };
            view.rows.push((row, true));
        }
        view
    }

    /// What there is to know besides that all is well, and how well it is.
    fn detail(&self, distribution: &ImageDistribution, copies: &[Copy]) -> (Option<Detail>, String) {
        let count = format!("{} of {} copies are Ready", self.ready, self.of);
        let going = self.under_way.iter().cloned();
        let going: Vec<_> =
            going.chain(self.leaving.iter().map(|place| format!("{place} is being deleted"))).collect();
        let rest = if going.is_empty() { String::new() } else { format!("; {}", some(&going)) };
        let stalled = |count: &str| {
            let (reason, _) = self.stalled.first()?;
            let sentences: Vec<_> = self.stalled.iter().map(|(_, sentence)| sentence.clone()).collect();
            Some(Detail::stalled(reason.clone(), format!("{}; {count}{rest}", some(&sentences))))
        };
        let detail = match (is_deleting(distribution), distribution.spec.suspend) {
            (true, true) => Some(Detail::suspended(format!(
                "suspend is true, so no copy is deleted, and this object waits; set suspend: false to have the copies deleted; with \
                 deletionPolicy: Retain they stay at the vendor; or take the finalizer {FINALIZER} off this object, and Kubernetes \
                 deletes the AliyunImageCopies"
            ))),
            (true, false) => stalled("the copies are deleted first").or_else(|| {
                let rest =
                    if self.leaving.is_empty() { "they are gone".to_owned() } else { some(&self.leaving) };
                Some(Detail::waiting("Deleting", format!("waiting until the copies are gone: {rest}")))
            }),
            // As of any object that is suspended and as its spec says.
            (false, true) if self.is_well() && is_applied(distribution, copies) => None,
            (false, true) => Some(Detail::suspended(format!(
                "suspend is true, so no copy is made, changed or deleted; {count}; set suspend: false to go on"
            ))),
            (false, false) => stalled(&count).or_else(|| {
                (!self.is_well()).then(|| Detail::waiting("Distributing", format!("{count}{rest}")))
            }),
        };
        (detail, format!("all {} copies are Ready", self.of))
    }

    fn is_well(&self) -> bool {
        self.stalled.is_empty() && self.under_way.is_empty() && self.leaving.is_empty()
    }
}

/// Whether nothing would have to be done if the distribution were not suspended.
fn is_applied(distribution: &ImageDistribution, copies: &[Copy]) -> bool {
    let mut going = distribution.clone();
    going.spec.suspend = false;
    steps(&going, copies).is_empty()
}

/// A copy that does not go on by itself: the reason, and a sentence.
fn stalled(place: &str, name: &str, state: &State<'_>) -> (String, String) {
    ("CopyStalled".into(), format!("{place}: {}", said(name, state)))
}

/// What a copy says of itself.
fn said(name: &str, state: &State<'_>) -> String {
    let (kind, message) = (AliyunImageCopy::kind(&()), state.message.trim_end_matches('.'));
    format!("{kind} {name}: {}: {message}", state.reason)
}

fn some(texts: &[String]) -> String {
    let named = texts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match texts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}
