//! How well a vendor's quota is used: 3 000 creations where 1 000 are taken in each minute of the vendor's clock, by an operator that
//! is alone, and by one beside a client that takes half of it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Options;
use super::floor::{Floor, PLURAL};
use super::lab::Lab;
use super::report::Report;
use super::scenes::objects;
use super::watch::Watch;
use crate::error::{Doing, Result};

const ACTION: &str = "CreateImageComponent";

/// The operator's key: of the same customer of the vendor's as the other client's, and told from that in the ledger.
const KEY: (&str, &str) = ("quota", "quota-secret");

/// A quota, and how many things are made with it.
struct Quota {
    requests: usize,
    period: Duration,
    count: usize,
}

pub(super) async fn run(lab: &mut Lab, options: &Options, report: &mut Report) -> Result<()> {
    // For a look, periods are as short as there are fewer calls in one.
    let (requests, seconds) = (options.count(1000), if options.quick { 6 } else { 60 });
    let quota = Quota { requests, period: Duration::from_secs(seconds), count: options.count(3000) };
    let key = |(id, secret): (&str, &str)| json!({ "id": id, "secret": secret });
    let limit = json!({ "action": ACTION, "requests": requests, "periodSeconds": seconds });
    lab.admin(
        "settings",
        &json!({
            "accessKeys": [key(("simulator", "simulator-secret")), key(KEY)],
            "aliyunEcs": { "flowLimits": [limit] },
        }),
    )
    .await?;
    one(lab, options, report, &quota, "alone", None).await?;
    let half = quota.period * 2 / u32::try_from(requests).doing(|| "count")?;
    one(lab, options, report, &quota, "beside another client", Some(half)).await
}

/// `other`: how far apart the calls of another client are.
async fn one(
    lab: &mut Lab,
    options: &Options,
    report: &mut Report,
    quota: &Quota,
    label: &str,
    other: Option<Duration>,
) -> Result<()> {
    let Quota { requests, period, count } = quota;
    report.step(&format!("{count} creations, {requests} in {} s are taken, {label}", period.as_secs()));
    let namespace = if other.is_some() { "quota-shared" } else { "quota-alone" };
    lab.empty_namespace(namespace).await?;
    // What is published is what the operator goes by, if there is nothing else.
    let own = json!([{ "action": ACTION, "requests": requests, "period": format!("{}s", period.as_secs()) }]);
    let limits = if options.quick { own } else { json!([]) };
    lab.account(namespace, "aliyun", &limits, Some(KEY)).await?;
    let watch = Watch::start(&lab.client, namespace, PLURAL);
    lab.create(namespace, PLURAL, &objects(lab, namespace, "component", *count)?).await?;
    // What was called before must not count for the period that is on.
    lab.pause(*period).await?;
    let floor = Floor::new(lab, Value::Null, options.floor)?;
    let http = lab.http().clone();
    let client = other.map(|every| tokio::spawn(async move { floor.make_for_ever(&http, every).await }));
    let before = lab.calls(ACTION).await?.len();
    lab.start_operator("warnings")?;
    let done = lab.until("all are Ready", || watch.ready() == *count).await;
    if let Some(client) = client {
        client.abort();
    }
    done?;
    lab.stop_operator()?;

    let calls = lab.calls(ACTION).await?.split_off(before);
    let calls: Vec<_> = calls.iter().filter(|call| call["accessKey"] == KEY.0).collect();
    let is_made = |call: &&&Value| call["status"] == 200;
    let times: Vec<Timestamp> = calls
        .iter()
        .filter(is_made)
        .map(|call| call["time"].as_str().unwrap_or_default().parse().doing(|| "read the ledger"))
        .collect::<Result<_>>()?;
    let after = |number: usize| {
        let (first, then) = times.first().zip(times.get(number - 1))?;
        Some(then.duration_since(*first).as_secs_f64())
    };
    let throttled = calls.len() - times.len();
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let share = throttled as f64 / calls.len() as f64;
    report.add(format!("quota, {label}: time"), "s", after(*count).unwrap_or_default(), None);
    if other.is_none()
        && let (Some(period_full), Some(all)) = (after(*requests), after(*count))
    {
        // Nobody who does not know when the vendor's periods begin is faster: two whole ones, and what a period's calls take.
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
        let ideal = ((count / requests - 1) as f64).mul_add(period.as_secs_f64(), period_full);
        report.add("  of the ideal time", "%", ideal / all * 100.0, None);
    }
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    report.add("  calls that were throttled", "", throttled as f64, None);
    report.add("  of all creating calls", "%", share * 100.0, None);
    report.detail(&format!("quota {label}"), json!({ "calls": calls.len(), "throttled": throttled }));
    Ok(())
}
