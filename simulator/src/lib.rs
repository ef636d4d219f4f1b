//! The vendors' image APIs on loopback: signatures, rules and error codes as the vendors have them, with faults, a clock
//! and a ledger that tells what was really made.
//!
//! It shares no code with the operator, so that a misreading of a vendor's page cannot pass on both sides.
//!
//! - [`start`] runs all services on addresses of one's choice, [`Simulator`] is the handle of tests.
//! - [`FaultRule`] says what goes wrong; [`ClockChange`] moves time; [`Ledger`] is what happened.
//! - `/_sim/` on the admin address does the same over HTTP.
//!
//! Where a vendor's behaviour is not known, the module that simulates it says so, and a setting chooses.

mod admin;
pub mod aliyun_ecs;
pub mod batchcompute;
mod clock;
mod crypto;
mod faults;
mod flow;
mod ids;
mod ledger;
mod paging;
mod server;
mod settings;
mod store;
mod tls;
pub mod volcengine;
mod wire;
mod work;
pub mod zstack;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub use clock::{ClockChange, ClockReading};
pub use faults::{Fault, FaultRule, RuleState, When};
pub use flow::FlowLimit;
pub use ledger::{Call, Change, Effect, Ledger};
use server::{Service, Shared};
pub use settings::{AccessKey, Settings, Texts};
pub use tls::TlsAddress;
pub use work::{Outcome, Stage, Work};

/// Where the services listen; by default each on a free port of 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The admin API.
    pub admin: SocketAddr,
    /// Volcengine: ACEP and ECS.
    pub volcengine: SocketAddr,
    /// Alibaba Cloud ECS.
    pub aliyun_ecs: SocketAddr,
    /// Alibaba Cloud BatchCompute.
    pub batchcompute: SocketAddr,
    /// ZStack.
    pub zstack: SocketAddr,
}

impl Default for Options {
    fn default() -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { admin: free, volcengine: free, aliyun_ecs: free, batchcompute: free, zstack: free }
    }
}

/// Where the services really listen.
pub type Addresses = Options;

/// The services and what they share.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    volcengine: Arc<volcengine::Volcengine>,
    aliyun_ecs: Arc<aliyun_ecs::AliyunEcs>,
    batchcompute: Arc<batchcompute::BatchCompute>,
    zstack: Arc<zstack::ZStack>,
}

impl Core {
    fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new(Settings::default())),
            volcengine: Arc::default(),
            aliyun_ecs: Arc::default(),
            batchcompute: Arc::default(),
            zstack: Arc::default(),
        }
    }

    /// In the order of their addresses.
    pub(crate) fn services(&self) -> [Arc<dyn Service>; 4] {
        [self.volcengine.clone(), self.aliyun_ecs.clone(), self.batchcompute.clone(), self.zstack.clone()]
    }

    pub(crate) fn reset(&self) {
        self.shared.clock.reset();
        self.shared.rules.set(Vec::new());
        self.shared.book.reset();
        self.shared.set_settings(Settings::default());
        for service in self.services() {
            service.reset();
        }
    }
}

/// A running simulator; dropping it ends all its servers and connections.
pub struct Simulator {
    core: Arc<Core>,
    addresses: Addresses,
    servers: Mutex<JoinSet<()>>,
}

/// Starts all services on the current tokio runtime; when this returns, they answer.
///
/// # Errors
/// An address cannot be listened on.
pub async fn start(options: Options) -> io::Result<Simulator> {
    let core = Arc::new(Core::new());
    let mut servers = JoinSet::new();

    let (listener, admin) = bind(options.admin).await?;
    servers.spawn(admin::listen(listener, Arc::clone(&core)));

    let wanted = [options.volcengine, options.aliyun_ecs, options.batchcompute, options.zstack];
    let mut bound = wanted;
    for ((service, address), bound) in core.services().into_iter().zip(wanted).zip(&mut bound) {
        let listener;
        (listener, *bound) = bind(address).await?;
        servers.spawn(server::listen(listener, None, service, Arc::clone(&core.shared)));
    }
    let [volcengine, aliyun_ecs, batchcompute, zstack] = bound;
    Ok(Simulator {
        core,
        addresses: Addresses { admin, volcengine, aliyun_ecs, batchcompute, zstack },
        servers: Mutex::new(servers),
    })
}

async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(named)?;
    let bound = listener.local_addr().map_err(named)?;
    Ok((listener, bound))
}

impl Simulator {
    /// Where the services listen.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Opens one more address for a service (`zstack`, …), over TLS with a certificate of a private authority.
    ///
    /// # Errors
    /// There is no such service, or no free port.
    pub async fn over_tls(&self, service: &str) -> io::Result<TlsAddress> {
        let found = self.core.services().into_iter().find(|candidate| candidate.name() == service);
        let service = found.ok_or_else(|| io::Error::other(format!("there is no service {service}")))?;
        let (acceptor, authority) = tls::acceptor()?;
        let (listener, address) = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let serving = server::listen(listener, Some(acceptor), service, Arc::clone(&self.core.shared));
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).spawn(serving);
        Ok(TlsAddress { address, authority })
    }

    /// What happened so far.
    pub fn ledger(&self) -> Ledger {
        self.core.shared.book.snapshot()
    }

    /// How many calls of an action arrived so far; cheaper than the whole ledger.
    pub fn count_calls(&self, action: &str) -> usize {
        self.core.shared.book.read(|ledger| ledger.calls_of(action).count())
    }

    /// How many effects an action had so far; cheaper than the whole ledger.
    pub fn count_effects(&self, action: &str) -> usize {
        self.core.shared.book.read(|ledger| ledger.effects_of(action).count())
    }

    /// Replaces all rules; their counts begin at zero.
    pub fn set_faults(&self, rules: Vec<FaultRule>) {
        self.core.shared.rules.set(rules);
    }

    /// The rules in force and how often each was seen and hit.
    pub fn faults(&self) -> Vec<RuleState> {
        self.core.shared.rules.states()
    }

    /// Changes the clocks.
    ///
    /// # Errors
    /// A number that no clock can follow; then nothing is changed.
    pub fn set_clock(&self, change: &ClockChange) -> Result<(), String> {
        self.core.shared.clock.change(change)
    }

    /// What the clocks show.
    pub fn clock(&self) -> ClockReading {
        self.core.shared.clock.read()
    }

    /// Moves the world (not the gateways' clock) on.
    pub fn advance(&self, by: Duration) {
        let change = ClockChange { advance_seconds: Some(by.as_secs_f64()), ..ClockChange::default() };
        // A duration is never negative, so that this cannot be refused.
        let _ = self.core.shared.clock.change(&change);
    }

    /// The settings in force.
    pub fn settings(&self) -> Settings {
        self.core.shared.settings().as_ref().clone()
    }

    /// Changes settings.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.settings();
        change(&mut settings);
        self.core.shared.set_settings(settings);
    }

    /// Forgets everything: things, ledger, faults, clock changes and settings.
    pub fn reset(&self) {
        self.core.reset();
    }

    /// All that the vendors have, by service and collection, as the admin API shows it.
    pub fn things(&self) -> serde_json::Value {
        let shared = &self.core.shared;
        let rows = |service: &Arc<dyn Service>, collection: &str| {
            let request = store::AdminRequest {
                method: "GET".into(),
                collection: collection.into(),
                id: None,
                body: serde_json::Value::Null,
            };
            service.administer(&request, shared).unwrap_or_default()
        };
        let of = |service: &Arc<dyn Service>| -> serde_json::Value {
            let collections = service.collections().iter();
            collections.map(|&collection| (collection.to_owned(), rows(service, collection))).collect()
        };
        self.core.services().iter().map(|service| (service.name().to_owned(), of(service))).collect()
    }

    /// The images and tasks of Volcengine, to seed, look at and remove.
    pub fn volcengine(&self) -> volcengine::Inventory<'_> {
        volcengine::Inventory::new(&self.core.volcengine, &self.core.shared)
    }

    /// The image components of Alibaba Cloud ECS, to seed, look at and remove.
    pub fn aliyun_ecs(&self) -> aliyun_ecs::Inventory<'_> {
        aliyun_ecs::Inventory::new(&self.core.aliyun_ecs, &self.core.shared)
    }

    /// The images of Alibaba Cloud BatchCompute, to seed, look at and remove.
    pub fn batchcompute(&self) -> batchcompute::Inventory<'_> {
        batchcompute::Inventory::new(&self.core.batchcompute, &self.core.shared)
    }

    /// The images, sessions and jobs of ZStack, to seed, look at and remove.
    pub fn zstack(&self) -> zstack::Inventory<'_> {
        zstack::Inventory::new(&self.core.zstack, &self.core.shared)
    }
}
