//! `vendor-simulator`: the simulated vendor APIs as a program.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use vendor_simulator::{Addresses, Options};

/// The vendor image APIs on loopback, with faults, a clock and a ledger under /_sim/ of the admin address.
///
/// Accepts access key `simulator` with secret `simulator-secret`, and the ZStack account `admin` with `password`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Address of the admin API
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8800")]
    admin: SocketAddr,
    /// Address of Volcengine (ACEP and ECS)
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8801")]
    volcengine: SocketAddr,
    /// Address of Alibaba Cloud ECS
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8802")]
    aliyun_ecs: SocketAddr,
    /// Address of Alibaba Cloud BatchCompute
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8803")]
    batchcompute: SocketAddr,
    /// Address of ZStack
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8804")]
    zstack: SocketAddr,
    /// Allow addresses that others can reach; the secrets are public knowledge
    #[arg(long)]
    listen_anywhere: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .with_target(false)
        .with_ansi(std::io::stdout().is_terminal())
        .init();
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("vendor-simulator: {message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), String> {
    let Arguments { admin, volcengine, aliyun_ecs, batchcompute, zstack, listen_anywhere } = arguments;
    let addresses = [admin, volcengine, aliyun_ecs, batchcompute, zstack];
    if let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback() && !listen_anywhere) {
        return Err(format!("{open} is not a loopback address; --listen-anywhere allows it"));
    }
    // Before the servers start, so that a signal right after the first answer already ends the program well.
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let simulator = vendor_simulator::start(Options { admin, volcengine, aliyun_ecs, batchcompute, zstack })
        .await
        .map_err(|e| format!("cannot listen: {e}"))?;
    let Addresses { admin, volcengine, aliyun_ecs, batchcompute, zstack } = simulator.addresses();
    tracing::info!(%admin, %volcengine, %aliyun_ecs, %batchcompute, %zstack, "listening");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn on(kind: SignalKind) -> Result<tokio::signal::unix::Signal, String> {
    signal(kind).map_err(|e| format!("cannot wait for signals: {e}"))
}
