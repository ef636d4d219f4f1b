//! What processes and the API server say of what they have done so far.

use std::collections::BTreeMap;
use std::fs;

/// CPU seconds that a process has used; `None` where there is no `/proc`, or the process is gone.
pub(super) fn cpu(pid: Option<u32>) -> Option<f64> {
    /// Of every Linux since 2.6, whatever the kernel's own ticks are.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid?)).ok()?;
    // The name before may hold anything, parentheses too.
    let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// Resident memory of a process in MiB, now and at its height.
pub(super) fn memory(pid: Option<u32>) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid?)).ok()?;
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
    };
    Some((mib("VmRSS:")?, mib("VmHWM:")?))
}

/// Requests that the API server has answered, by verb and resource, of those that only an operator or we make: the groups
/// of the operator's kinds and Events, Secrets, namespaces.
pub(super) fn requests(metrics: &str) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| label(line, name).unwrap_or_default();
        let (group, resource) = (label("group"), label("resource"));
        let ours = group == "cloudimages.dev"
            || group == "events.k8s.io"
            || group.is_empty() && matches!(resource, "events" | "secrets" | "namespaces");
        let value = line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
        let (true, Some(value)) = (ours, value) else { continue };
        let verb = match label("verb") {
            // An earlier name for the same.
            "APPLY" => "PATCH",
            verb => verb,
        };
        let part = Some(label("subresource")).filter(|part| !part.is_empty());
        let key =
            format!("{verb} {resource}{}{}", if part.is_some() { "/" } else { "" }, part.unwrap_or_default());
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are whole numbers"
        )]
        let value = value as u64;
        *counted.entry(key).or_default() += value;
    }
    counted
}

/// The value of a label in a line of the Prometheus format; those that are asked for hold no quotes.
fn label<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = [format!("{{{name}=\""), format!(",{name}=\"")];
    let at = start.iter().find_map(|start| line.find(start.as_str()).map(|at| at + start.len()))?;
    line[at..].split('"').next()
}

/// What was added between two counts.
pub(super) fn difference(
    before: &BTreeMap<String, u64>,
    after: &BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    let added = |(key, after): (&String, &u64)| {
        let more = after.saturating_sub(before.get(key).copied().unwrap_or_default());
        (more > 0).then(|| (key.clone(), more))
    };
    after.iter().filter_map(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_verb_and_resource() {
        let metrics = r#"# HELP apiserver_request_total Counter
apiserver_request_total{code="200",component="apiserver",dry_run="",group="cloudimages.dev",resource="imagecomponents",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 3
apiserver_request_total{code="409",component="apiserver",dry_run="",group="cloudimages.dev",resource="imagecomponents",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 2
apiserver_request_total{code="200",component="apiserver",dry_run="",group="cloudimages.dev",resource="cloudaccounts",scope="resource",subresource="",verb="GET",version="v1alpha1"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="GET",version="v1"} 9
apiserver_request_duration_seconds_count{group="cloudimages.dev",verb="GET"} 1
"#;
        let before = requests(metrics);
        assert_eq!(before.get("PATCH imagecomponents/status"), Some(&5));
        assert_eq!(before.get("GET cloudaccounts"), Some(&7));
        assert_eq!(before.len(), 2);
        let mut after = before.clone();
        after.insert("GET cloudaccounts".into(), 9);
        after.insert("POST events".into(), 1);
        let added: Vec<_> = difference(&before, &after).into_iter().collect();
        assert_eq!(added, [("GET cloudaccounts".into(), 2), ("POST events".into(), 1)]);
    }

    #[test]
    fn a_process_tells_of_itself() {
        let own = Some(std::process::id());
        if cfg!(target_os = "linux") {
            let (now, most) = memory(own).unwrap();
            assert!(now > 1.0 && most >= now && cpu(own).unwrap() >= 0.0);
        }
        assert_eq!((cpu(None), memory(None)), (None, None));
    }
}
