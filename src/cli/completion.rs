//! What a shell offers after a TAB. kubectl asks the program for that under the name [`super::COMPLETER`], as it asks each of its
//! plugins, and reads the answer as cobra, its own library, writes it: a candidate and what it means in each line, and last what
//! the shell is to do beside.

use super::objects::{Cluster, Target, kind_called};
use crate::{
    account::{CloudAccount, ClusterCloudAccount},
    docs::{self, reasons::REASONS},
    kinds::KINDS,
};
use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, complete};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, CustomResourceExt, api::ListParams};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fmt::Debug,
    path::{Path, PathBuf},
    time::Duration,
};

/// Cobra's directives: to offer files as for any program, and not to.
const FILES: u8 = 0;
const NO_FILES: u8 = 4;
/// Whoever has pressed TAB waits no longer for a cluster.
const SOON: Duration = Duration::from_secs(3);
/// No screen has more.
const MOST: u32 = 500;

/// The answer: what may stand for the last of these words, which follow the program's name.
pub fn answer(command: Command, mut words: Vec<OsString>) -> String {
    if words.is_empty() {
        words.push(OsString::new());
    }
    let target = target(&command, &words);
    let mut command = command.mut_subcommands(|command| command.mut_args(|arg| completed(arg, &target)));
    let (last, at) = (words.last().cloned().unwrap_or_default(), words.len());
    words.insert(0, command.get_name().into());
    let here = std::env::current_dir().ok();
    let found = complete(&mut command, words, at, here.as_deref()).unwrap_or_default();
    let last = last.to_string_lossy();
    // What stands before the `=` is not asked for.
    let given = last.split_once('=').filter(|_| last.starts_with('-')).map_or(0, |(flag, _)| flag.len() + 1);
    let (mut text, mut directive) = (String::new(), NO_FILES);
    for candidate in found.iter().filter(|candidate| !candidate.is_hide_set()) {
        let value = candidate.get_value().to_string_lossy();
        let value = value.get(given..).unwrap_or_default();
        if is_path(value) {
            // The shell knows better how to write one.
            directive = FILES;
            continue;
        }
        // As kubectl offers flags: to those who have begun one.
        if value.starts_with('-') && !last.starts_with('-') {
            continue;
        }
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        text += value;
        if let Some(help) = help.lines().next().filter(|help| !help.is_empty()) {
            text += &format!("\t{}", help.replace('\t', " "));
        }
        text += "\n";
    }
    text + &format!(":{directive}\n")
}

fn is_path(value: &str) -> bool {
    value.starts_with('~') || Path::new(value).symlink_metadata().is_ok()
}

/// The cluster that the words so far lead to.
fn target(command: &Command, words: &[OsString]) -> Target {
    let words = std::iter::once(OsString::from(command.get_name())).chain(words.iter().cloned());
    let matches = command.clone().ignore_errors(true).try_get_matches_from(words).ok();
    let matches = matches.as_ref().and_then(|matches| matches.subcommand()).map(|(_, matches)| matches);
    let text = |id: &str| matches.and_then(|it| it.try_get_one::<String>(id).ok().flatten()).cloned();
    let all = matches.and_then(|it| it.try_get_one::<bool>("all_namespaces").ok().flatten());
    Target {
        namespace: text("namespace"),
        all_namespaces: all.copied().unwrap_or_default(),
        context: text("context"),
        kubeconfig: matches.and_then(|it| it.try_get_one::<PathBuf>("kubeconfig").ok().flatten()).cloned(),
    }
}

/// An argument that knows what may be given for it.
fn completed(arg: Arg, target: &Target) -> Arg {
    let target = target.clone();
    match arg.get_id().as_str() {
        "objects" => arg.add(ArgValueCompleter::new(move |word: &OsStr| objects(word, &target))),
        "kinds" => arg.add(ArgValueCandidates::new(kinds)),
        "account" => of_cluster(arg, move || listed(&target, |cluster| cluster.api(&CloudAccount::crd()).0)),
        "cluster_account" => {
            of_cluster(arg, move || listed(&target, |cluster| cluster.api(&ClusterCloudAccount::crd()).0))
        }
        "namespace" => of_cluster(arg, move || {
            listed(&target, |cluster| Api::<Namespace>::all(cluster.client().clone()))
        }),
        "code" => arg.add(ArgValueCandidates::new(codes)),
        _ => arg,
    }
}

fn of_cluster(arg: Arg, names: impl Fn() -> Vec<String> + Send + Sync + 'static) -> Arg {
    let candidates = move || names().into_iter().map(CompletionCandidate::new).collect::<Vec<_>>();
    arg.add(ArgValueCandidates::new(candidates))
}

/// Kinds, by the names that kubectl offers.
fn kinds() -> Vec<CompletionCandidate> {
    KINDS.iter().map(|kind| CompletionCandidate::new(kind.crd().spec.names.plural)).collect()
}

/// A kind, and after its `/` the objects of that kind.
fn objects(word: &OsStr, target: &Target) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    let mut candidates = match word.split_once('/') {
        None => kinds(),
        Some((kind, _)) => {
            let Some(found) = kind_called(kind) else { return vec![] };
            let names = listed(target, |cluster| cluster.api(&found.crd()).0);
            names.into_iter().map(|name| CompletionCandidate::new(format!("{kind}/{name}"))).collect()
        }
    };
    candidates.retain(|candidate| candidate.get_value().to_string_lossy().starts_with(&*word));
    candidates
}

/// What `explain` knows.
fn codes() -> Vec<CompletionCandidate> {
    let rows = docs::errors().into_iter().flat_map(|(_, rows)| rows.into_iter().map(|row| row.code));
    let all: BTreeSet<_> = rows.chain(REASONS.iter().map(|reason| reason.name)).collect();
    let is_one = |code: &&str| !code.is_empty() && !code.contains('*');
    all.into_iter().filter(is_one).map(CompletionCandidate::new).collect()
}

/// The names that the cluster has; none where it cannot be asked: a TAB is no place for errors.
fn listed<K>(target: &Target, api: impl Fn(&Cluster) -> Api<K>) -> Vec<String>
where
    K: Clone + Debug + DeserializeOwned,
{
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return vec![];
    };
    let ask = async {
        let cluster = Cluster::connect(target).await.ok()?;
        let list = api(&cluster).list_metadata(&ListParams::default().limit(MOST)).await.ok()?;
        Some(list.items.into_iter().filter_map(|it| it.metadata.name).collect())
    };
    runtime.block_on(async { tokio::time::timeout(SOON, ask).await.ok().flatten().unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Subcommand;

    fn answered(words: &[&str]) -> String {
        let command = crate::cli::Command::augment_subcommands(Command::new(crate::cli::PLUGIN));
        answer(command, words.iter().map(OsString::from).collect())
    }

    #[test]
    fn what_may_follow_is_offered_as_cobra_writes_it() {
        let text = answered(&[""]);
        assert!(text.contains("\nstatus\tShow where image objects stand: phase, "), "{text}");
        assert!(text.ends_with("\n:4\n") && !text.contains("\n-"), "{text}");
        assert_eq!(answered(&[]), text, "nothing has been typed");
        let is = |words: &[&str], lines: &[&str]| {
            let text = answered(words);
            let seen: Vec<_> = text.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect();
            assert_eq!(seen, lines, "{words:?}: {text}");
        };
        is(&["expl"], &["explain", ":4"]);
        is(&["status", "imageex"], &["imageexports", ":4"]);
        is(&["import", "--kind", "imageex"], &["imageexports", ":4"]);
        is(&["import", "--account", "a", "--incl"], &["--include-marked", ":4"]);
        for words in [&["import", "-o", "j"][..], &["import", "--output=j"], &["import", "-o=j"]] {
            is(words, &["json", ":4"]);
        }
        is(&["explain", "OutcomeU"], &["OutcomeUnknown", ":4"]);
        is(&["explain", "--lang", ""], &["en", "zh", ":4"]);
        // Files are the shell's.
        is(&["plan", "-f", ""], &[":0"]);
        is(&["plan", "-f", "src/cl"], &[":0"]);
        is(&["plan", "-f", "no-such-folder/"], &[":4"]);
        // What is wrong is no reason to say anything.
        is(
            &["nothing", ""],
            &["import", "status", "orphans", "plan", "wait", "tree", "explain", "completion", "help", ":4"],
        );
        is(&["status", "pods/"], &[":4"]);
        is(&["status", "--kubeconfig", "/nowhere", "imageexports/"], &[":4"]);
        is(&["status", "--kubeconfig", "/nowhere", "-n", ""], &[":4"]);
    }
}
