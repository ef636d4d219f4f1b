//! The program: its flags, its addresses, its end.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::{owned, raw, send};

const SERVICES: [&str; 5] = ["--admin", "--volcengine", "--aliyun-ecs", "--batchcompute", "--zstack"];

fn program(addresses: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vendor-simulator"));
    command.args(SERVICES.iter().flat_map(|flag| [*flag, addresses]));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).env("NO_COLOR", "1");
    command
}

/// Waits for the line that says where the program listens, and returns the admin address.
async fn ready(child: &mut Child) -> std::net::SocketAddr {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the program says where it listens");
            if let Some(rest) = line.split("admin=").nth(1) {
                return rest.split(' ').next().unwrap().parse().unwrap();
            }
        }
    });
    let address = address.await.expect("within 20 seconds");
    // What it says later must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    address
}

#[tokio::test]
async fn it_answers_until_a_signal_ends_it_well() {
    for signal in ["TERM", "INT"] {
        let mut child = program("127.0.0.1:0").spawn().unwrap();
        let admin = ready(&mut child).await;
        let request = raw("GET", "/_sim/healthz", &owned(&[("host", "x")]), b"");
        assert_eq!(send(admin, &request).await.unwrap().text(), "ok");
        let id = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().await.unwrap().success());
        let status =
            tokio::time::timeout(Duration::from_secs(10), child.wait()).await.expect("it ends").unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn it_stays_on_loopback_unless_told_otherwise() {
    let output = program("0.0.0.0:0").output().await.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--listen-anywhere"));
    let mut child = program("0.0.0.0:0").arg("--listen-anywhere").spawn().unwrap();
    ready(&mut child).await;
}
