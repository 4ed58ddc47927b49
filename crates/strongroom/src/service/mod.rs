//! The service: puts the parts together, serves until it is asked to stop, drains.

mod chains;
mod checkpoints;
mod parts;
mod roles;
mod storage;
mod store;

use crate::cli::ServiceArgs;
use crate::dev::announce::Announcer;
use crate::failure::Failure;
use crate::serve::{listen_settings, now_ms};
use checkpoints::Checkpoints;
use parts::Parts;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use strongroom_model::SecretBytes;
use strongroom_partition::client::{KeeperClient, set_runtime_index};
use strongroom_partition::confine::{self, ConfineError, Reach};
use strongroom_server::audit::{copy_outbox, drain_outbox};
use strongroom_server::config::{ServiceConfig, WorkFolder, logs};
use strongroom_server::http::{self, Hold, HttpLimits, ListenError, Listeners};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

/// `strongroom service`
pub(crate) fn run(args: &ServiceArgs) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let confinement = confine::service(&[args.config_fd, args.keeper_fd, args.store_seal_fd])?;
    let config: ServiceConfig = serde_json::from_slice(confine::read_inherited(args.config_fd)?.expose())?;
    let store_seal = confine::read_inherited(args.store_seal_fd)?;
    logs::init(&config.log)?;
    let announcer = config.development.is_some().then(|| Announcer::start(&config)).transpose()?;
    let confinement = confine::limit_service(confinement, &reach(&config), config.allow_visible_seal)?;
    if !confinement.files_denied {
        tracing::warn!("{}", ConfineError::VisibleSeal);
    }
    tracing::info!(?confinement, "the service starts");
    let keeper = KeeperClient::connect(args.keeper_fd)?;
    if let Some(development) = &config.development {
        keeper.set_clock_offset(development.clock_offset);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The last lanes: the workers have those before.
    set_runtime_index(config.runtimes.min(args.runtimes.saturating_sub(1)));
    runtime.block_on(serve(config, store_seal, keeper, announcer, started))
}

/// What the service cannot do without.
fn reach(config: &ServiceConfig) -> Reach {
    let (write, read): (Vec<_>, Vec<_>) = config.work_folders().into_iter().partition(|work| work.write);
    let folders = |works: Vec<WorkFolder>| works.into_iter().map(|work| work.folder).filter(|f| f.exists()).collect();
    let (unix, vsock) = config.listens_locally();
    Reach {
        unix,
        vsock,
        read: folders(read),
        write: folders(write),
        bind: config.listening_ports(),
        connect: config.outgoing_ports(),
    }
}

async fn serve(
    config: ServiceConfig,
    store_seal: SecretBytes,
    keeper: Arc<KeeperClient>,
    announcer: Option<Announcer>,
    started: Instant,
) -> Result<ExitCode, Failure> {
    let listeners = Listeners::bind(&listen_settings(&config))?;
    let parts = Parts::start(&config, store_seal, Arc::clone(&keeper)).await?;
    let mut workers = Workers::start(&parts, listeners)?;
    parts.engine.ready().await.map_err(|error| Failure::failed(format!("the self-tests failed: {error}")))?;
    if let Some(announcer) = announcer {
        let ca_pem = parts.tls.ca_pem().unwrap_or_default().to_owned();
        tokio::task::spawn_blocking(move || announcer.announce(&ca_pem)).await??;
    }
    let (service_ms, command_ms) = (started.elapsed().as_millis(), now_ms().saturating_sub(config.started_ms));
    tracing::info!(%service_ms, %command_ms, version = env!("CARGO_PKG_VERSION"), "ready");

    let mut checkpoints = Checkpoints::new(Arc::clone(&parts.engine), Arc::clone(&parts.audit)).await?;
    let background = [
        tokio::spawn(Arc::clone(&parts.engine).run_jobs()),
        tokio::spawn(copy_outbox(Arc::clone(&parts.engine), Arc::clone(&parts.audit))),
        tokio::spawn(Arc::clone(&parts.tls).run()),
        tokio::spawn(Arc::clone(&parts.identity).watch()),
    ];
    let mut broken = None;
    tokio::select! {
        () = asked_to_stop(&keeper)? => {}
        failed = storage::failed(&parts.engine, &parts.audit) => {
            tracing::error!("{failed}");
            broken = Some(failed);
        }
        () = checkpoints.run() => {}
        // They ended by themselves: one of them broke.
        () = workers.drained() => {}
    }
    workers.drain().await;
    for task in background {
        task.abort();
    }
    drain(&parts, &mut checkpoints).await;
    let ended = workers.end().await;
    tracing::info!("stopped");
    if let Some(failed) = broken {
        return Err(Failure::failed(failed));
    }
    match ended {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => Err(Failure::failed(error)),
        Err(_) => Err(Failure::failed("the thread of the workers ended by a panic")),
    }
}

/// The threads that answer requests.
struct Workers {
    stop: watch::Sender<bool>,
    drained: mpsc::Receiver<()>,
    release: watch::Sender<bool>,
    /// Says how they ended.
    ended: oneshot::Receiver<Result<(), ListenError>>,
}

impl Workers {
    fn start(parts: &Parts, listeners: Listeners) -> Result<Self, Failure> {
        let (stop, stopping) = watch::channel(false);
        let (holding, drained) = mpsc::channel(1);
        let (release, released) = watch::channel(false);
        let (sender, ended) = oneshot::channel();
        let (service, tls) = (Arc::clone(&parts.service), parts.tls.server_config());
        std::thread::Builder::new().name("workers".into()).spawn(move || {
            let (limits, hold) = (HttpLimits::default(), Hold { drained: holding, release: released });
            let started = Arc::new(set_runtime_index);
            let result = http::run_held(service, listeners, tls, limits, stopping, started, Some(hold));
            // The service waits for it until it ends itself.
            let _gone = sender.send(result);
        })?;
        Ok(Self { stop, drained, release, ended })
    }

    /// Takes no new connection, and waits until every request has ended.
    async fn drain(&mut self) {
        self.stop.send_replace(true);
        self.drained().await;
    }

    /// Completes when every worker has let go.
    async fn drained(&mut self) {
        // Nothing is ever sent: the end comes when the last sender is gone.
        let _none = self.drained.recv().await;
    }

    /// Ends the threads.
    async fn end(self) -> Result<Result<(), ListenError>, oneshot::error::RecvError> {
        self.release.send_replace(true);
        self.ended.await
    }
}

/// Completes when the keeper, the service manager or somebody at the terminal wants an end.
fn asked_to_stop(keeper: &KeeperClient) -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            () = keeper.stop_requested() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Copies and signs what is left, gives back what was reserved, syncs the log.
async fn drain(parts: &Parts, checkpoints: &mut Checkpoints) {
    if let Err(error) = drain_outbox(&parts.engine, &parts.audit).await {
        tracing::warn!(%error, "the records of the last changes wait in the store for the next start");
    }
    parts.engine.stop().await;
    checkpoints.last().await;
    if !parts.audit.close() {
        tracing::error!("the audit log did not end well: see above");
    }
}
