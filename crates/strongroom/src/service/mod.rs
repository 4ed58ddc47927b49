//! The service: puts the parts together, serves until it is asked to stop, drains.

mod chains;
mod checkpoints;
mod parts;
mod roles;

use crate::cli::ServiceArgs;
use crate::dev::environment::{lines, variables};
use crate::dev::names::{self, Resolving};
use crate::dev::state::DevState;
use crate::dev::welcome::Welcome;
use crate::failure::Failure;
use crate::serve::{listen_settings, now_ms};
use checkpoints::Checkpoints;
use parts::Parts;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use strongroom_model::SecretBytes;
use strongroom_partition::client::{KeeperClient, set_runtime_index};
use strongroom_partition::confine;
use strongroom_server::audit::{copy_outbox, drain_outbox};
use strongroom_server::config::{DevelopmentConfig, ServiceConfig, logs, write_private};
use strongroom_server::http::{self, Hold, HttpLimits, ListenError, Listeners};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

/// `strongroom service`
pub(crate) fn run(args: &ServiceArgs) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let confinement = confine::service()?;
    let config: ServiceConfig = serde_json::from_slice(confine::read_inherited(args.config_fd)?.expose())?;
    let store_seal = confine::read_inherited(args.store_seal_fd)?;
    logs::init(&config.log)?;
    tracing::info!(?confinement, "the service starts");
    let keeper = KeeperClient::connect(args.keeper_fd)?;
    if let Some(development) = &config.development {
        keeper.set_clock_offset(development.clock_offset);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The last lanes: the workers have those before.
    set_runtime_index(config.runtimes.min(args.runtimes.saturating_sub(1)));
    runtime.block_on(serve(config, store_seal, keeper, started))
}

async fn serve(
    config: ServiceConfig,
    store_seal: SecretBytes,
    keeper: Arc<KeeperClient>,
    started: Instant,
) -> Result<ExitCode, Failure> {
    let resolving = config.development.is_some().then(|| names::resolve(&config));
    let listeners = Listeners::bind(&listen_settings(&config))?;
    let parts = Parts::start(&config, store_seal, Arc::clone(&keeper)).await?;
    let mut workers = Workers::start(&parts, listeners)?;
    parts.engine.ready().await.map_err(|error| Failure::failed(format!("the self-tests failed: {error}")))?;
    if let (Some(development), Some(resolving)) = (&config.development, resolving) {
        announce(&config, development, resolving).await?;
    }
    let (service_ms, command_ms) = (started.elapsed().as_millis(), now_ms().saturating_sub(config.started_ms));
    tracing::info!(%service_ms, %command_ms, version = env!("CARGO_PKG_VERSION"), "ready");

    let mut checkpoints = Checkpoints::new(Arc::clone(&parts.engine), Arc::clone(&parts.audit)).await?;
    let background = [
        tokio::spawn(Arc::clone(&parts.engine).run_jobs()),
        tokio::spawn(Arc::clone(&parts.engine).follow()),
        tokio::spawn(copy_outbox(Arc::clone(&parts.engine), Arc::clone(&parts.audit))),
        tokio::spawn(Arc::clone(&parts.tls).run()),
        tokio::spawn(Arc::clone(&parts.identity).watch()),
    ];
    tokio::select! {
        () = asked_to_stop(&keeper)? => {}
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

/// Writes the environment's file and prints what a developer needs.
async fn announce(config: &ServiceConfig, development: &DevelopmentConfig, names: Resolving) -> Result<(), Failure> {
    let state = DevState::load(&development.state)?;
    let ca = config.tls.ca_file.clone().unwrap_or_default();
    let variables = variables(config, &state, &ca);
    if let Some(file) = &development.env_file {
        write_private(file, &lines(&variables))?;
    }
    let lost_names = tokio::task::spawn_blocking(move || names.lost()).await?;
    Welcome { config, state: &state, variables: &variables, ca: &ca, lost_names: &lost_names }.print();
    Ok(())
}
