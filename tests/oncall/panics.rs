//! A panic in any part of the operator ends it, with a log line that tells where and no secret.

use cloud_image_operator::{log, panics, run::LogFormat};
use std::{env, process::Command};

const CANARY: &str = "canary-of-a-panic";
const THIS: &str = "oncall::panics::what_ends_by_panicking";

/// How a part panics.
const WAYS: &[&str] = &["plainly", "telling", "cutting"];

fn end(way: &str) {
    match way {
        "plainly" => panic!("a promise of the code"),
        "telling" => panic!("cannot use {CANARY}"),
        // The standard library shows the text that is cut.
        _ => drop(CANARY[..=CANARY.len()].to_owned()),
    }
}

/// Not a test of its own: the process that those below look at. It ends well where a task ends alone.
#[test]
fn what_ends_by_panicking() {
    let Ok(way) = env::var("PANICS") else { return };
    let (format, way) = way.split_once('/').expect("format and way");
    log::start(if format == "json" { LogFormat::Json } else { LogFormat::Text }, None);
    let (way, is_alone) = (way.to_owned(), env::var_os("ALONE").is_some());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let work = async move { end(&way) };
    let ended = runtime.block_on(async {
        if is_alone { tokio::spawn(panics::alone(work)) } else { tokio::spawn(work) }.await
    });
    assert!(ended.is_err(), "it panics");
}

/// The exit code of such a process, and its log.
fn panicked(format: &str, way: &str, is_alone: bool) -> (Option<i32>, String) {
    let mut process = Command::new(env::current_exe().expect("this program"));
    process.args(["--exact", THIS, "--nocapture"]).env("PANICS", format!("{format}/{way}"));
    if is_alone {
        process.env("ALONE", "yes");
    }
    let output = process.output().expect("it runs");
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(CANARY) && !log.contains(CANARY), "{format}, {way}: {said}{log}");
    (output.status.code(), log.into_owned())
}

#[test]
fn a_part_that_panics_ends_the_process_and_tells_where_but_no_secret() {
    for format in ["text", "json"] {
        for way in WAYS {
            let (code, log) = panicked(format, way, false);
            assert_eq!(code, Some(101), "{format}, {way}: {log}");
            assert!(log.contains("ERROR") && log.contains("panicked: "), "{format}, {way}: {log}");
            // With its message or without, the line of the code is there.
            let place = if *way == "cutting" { "location" } else { file!() };
            assert!(log.contains(place), "{format}, {way}: {log}");
            assert_eq!(log.contains("a promise of the code"), *way == "plainly", "{format}, {way}: {log}");
        }
    }
}

/// Or one odd answer of a vendor's would end the work of all accounts.
#[test]
fn work_that_others_can_do_without_ends_alone() {
    let (code, log) = panicked("text", "telling", true);
    assert!(code == Some(0) && log.contains("panicked: ") && log.contains(file!()), "{code:?}: {log}");
}
