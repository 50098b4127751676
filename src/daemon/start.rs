//! Startup and shutdown: lock, configuration, database, socket, leftovers, engine; and back.
use super::act::Actor;
use super::desk::SharedServices;
use super::event_loop::EventLoop;
use super::failure::Failure;
use super::first_config::{config_of_leader, read_config};
use super::own_id::identity;
use super::placed::left::RunNotes;
use super::placed::worker::Worker;
use super::services::Role;
use super::signals::{ProcessSignals, Signal};
use super::snapshot::{arrivals, begin};
use super::standby::{OpenedStore, Serving, Waiting};
use super::trust::TrustGate;
use super::watch::{self};
use super::{
    clock, exports, files, hearing, listen, lock, mailbox, nodes, outbox, pings, placed, polling,
    remembering, retention, room, sources, systemd, telemetry, traces, webhooks,
};
use crate::config::{Asked, Loaded, Paths};
use crate::daemon::inbox::{Condition, Handle, Message};
use crate::daemon::open_files::allow_open_files;
use crate::daemon::services::{Reload, Services};
use crate::domain::{Fleet, Process, RunId, RunStatus};
use crate::engine::Engine;
use crate::export::ExportProgress;
use crate::mcp::{About, Pin};
use crate::protocol::PROTOCOLS;
use crate::redis_memory::MemoryProgress;
use crate::store::{NodeDescription, NodeLink, Store, Where};
use crate::{child, runner, secret};
use jiff::Timestamp;
use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How long leftover processes of a dead daemon have to end after TERM.
const REAP_GRACE: Duration = Duration::from_secs(1);

/// How long MCP servers have to end before they are killed.
const SERVERS_GRACE: Duration = Duration::from_secs(6);

/// How long pending writes may delay the shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(20);

/// The same, if the records are on a server, where the lease expires soon in any case.
const SERVER_CLOSE_TIMEOUT: Duration = Duration::from_secs(8);

/// The same, if the daemon ended because its database failed.
const FAILED_SERVER_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Options of the daemon.
#[derive(Debug, Clone)]
pub struct DaemonOptions {
    /// Locations of all files.
    pub paths: Paths,
    /// Whether to log as JSON.
    pub log_json: bool,
    /// Whether a person has named or trusted the configuration.
    pub asked: Asked,
}

/// Runs the daemon in the foreground until it is stopped. Returns its exit code.
pub fn run(options: DaemonOptions) -> ExitCode {
    crate::child::keep_descriptors();
    start_log(options.log_json);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(start_and_serve(&options.paths, options.asked));
            runtime.shutdown_timeout(Duration::from_millis(200));
            ended
        }
        Err(cause) => Err(Failure::Io { doing: "can't start the runtime".into(), cause }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bgagent: {failure}");
            if let Some(hint) = failure.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(failure.code())
        }
    }
}

fn start_log(json: bool) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("BGAGENT_LOG").unwrap_or_else(|_| EnvFilter::new("info,rmcp=warn"));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // journald adds its own timestamps
    let started = if json {
        log.json().try_init()
    } else if std::env::var_os("JOURNAL_STREAM").is_some() {
        log.without_time().with_ansi(false).try_init()
    } else {
        use std::io::IsTerminal;
        log.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
    drop(started); // a second daemon in the same process keeps the first subscriber
}

async fn start_and_serve(paths: &Paths, asked: Asked) -> Result<(), Failure> {
    let began = std::time::Instant::now();
    runner::adopt_orphans();
    runner::keep_ignored_signals();
    let mut signals = ProcessSignals::listen()?;
    let _lock = lock::acquire(paths)?;
    prepare_groups(paths).await?;
    // before this node joins again: the leader may then give its runs to another one
    RunNotes::of(paths).end_leftovers(identity(paths)).await;
    let trust = TrustGate::of(paths, asked);
    let loaded = read_config(paths, &trust).await?;
    super::log::log_warnings(&loaded);
    allow_open_files(loaded.fleet.daemon.max_parallel_runs);
    let records = Where { file: paths.database(), server: loaded.fleet.store.clone() };
    let link = node_link(&records, &loaded.fleet)?;
    let down = CancellationToken::new();
    let of = (Arc::new(loaded.fleet.clone()), trust.clone());
    let waiting = Waiting::new(records.clone(), paths, of, link.clone(), down.clone());
    let opened = waiting.open(&mut signals).await;
    let (store, restored, waited, serving, worker, standby_asks) = match opened {
        Ok(Some(OpenedStore { store, restored, waited, serving, worker, asked })) => {
            (store, restored, waited, serving, worker, asked)
        }
        ended => {
            if let Some(link) = &link {
                nodes::leave(link).await;
            }
            lock::remove_daemon_file(paths);
            return ended.map(drop);
        }
    };
    let alive = waited.then(|| AbortOnDropHandle::new(tokio::spawn(systemd::keep_alive())));
    let loaded = match config_of_leader(paths, (&trust, waited), loaded, (&store, &records)).await {
        Ok(loaded) => loaded,
        Err(failure) => {
            if let Some(link) = &link {
                nodes::leave(link).await;
            }
            return Err(withdraw(failure, paths, &store, (serving, worker), &down).await);
        }
    };
    if let Some(back) = &restored.went_back {
        let known = back.known.map_or_else(|| "unknown".to_owned(), |known| known.0.to_string());
        tracing::warn!(
            newest = back.newest.0,
            known,
            "a copy was put in the place of the database: what came after its newest event is not known here"
        );
    }
    let socket = match serving {
        Some(serving) => Socket::Served(serving),
        None => Socket::Fresh(listen::bind(&paths.socket).await?),
    };
    let on_server = records.server.is_some();
    let ends = Ends { signals, began, down, link, worker, standby_asks };
    let ended =
        serve(paths, (loaded, trust), (store.clone(), records), (restored, alive), socket, ends).await;
    let ended = match ended {
        // an apparent corruption may be a failed read
        Err(Failure::Store(error)) if error.is_damage() => Err(Failure::Store(store.confirm(error).await)),
        ended => ended,
    };
    let closing = match (on_server, &ended) {
        (false, _) => CLOSE_TIMEOUT,
        (true, Ok(())) => SERVER_CLOSE_TIMEOUT,
        // it has not answered so far
        (true, Err(_)) => FAILED_SERVER_CLOSE_TIMEOUT,
    };
    match tokio::time::timeout(closing, store.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the database was not closed cleanly"),
        Err(_) => tracing::warn!("the database was not closed cleanly: the disk does not answer"),
    }
    lock::remove_daemon_file(paths);
    let _ = tokio::task::spawn_blocking(child::groups::clear).await;
    ended
}

/// Gives up the lead, and the socket of a standby.
async fn withdraw(
    failure: Failure,
    paths: &Paths,
    store: &Store,
    (serving, worker): (Option<Serving>, Option<Worker>),
    down: &CancellationToken,
) -> Failure {
    if let Some(worker) = worker {
        worker.end().await;
    }
    down.cancel();
    if let Some(serving) = serving {
        let _ = tokio::time::timeout(Duration::from_secs(2), serving.task).await;
    }
    let _ = store.close().await;
    lock::remove_daemon_file(paths);
    failure
}

/// Returns the connection to the other nodes; `None`: the records are in a file.
fn node_link(records: &Where, fleet: &Fleet) -> Result<Option<Arc<NodeLink>>, Failure> {
    let about = NodeDescription {
        spec: fleet.daemon.node.clone(),
        version: env!("CARGO_PKG_VERSION"),
        protocol: *PROTOCOLS.last().expect("there is one"),
        config: fleet.hash.to_string(),
        places: fleet.daemon.max_parallel_runs as u64,
    };
    Ok(NodeLink::to(records, about)?)
}

/// The socket on which clients are served.
enum Socket {
    /// Not served yet.
    Fresh(interprocess::local_socket::tokio::Listener),
    /// Served while this daemon was a standby.
    Served(Serving),
}

/// What ends a daemon, and what must end with it.
struct Ends {
    signals: ProcessSignals,
    began: std::time::Instant,
    down: CancellationToken,
    link: Option<Arc<NodeLink>>,
    /// Messages of clients that still regard this daemon as a standby.
    standby_asks: Option<mpsc::Receiver<Message>>,
    /// Runs what an earlier leader has placed at this node.
    worker: Option<Worker>,
}

/// Before anything is started: even a secret can come from a program.
async fn prepare_groups(paths: &Paths) -> Result<(), Failure> {
    let me = identity(paths).to_string();
    let settled = tokio::task::spawn_blocking(move || child::groups::settle(&me));
    let support = settled.await.map_err(|error| Failure::Internal(error.to_string()))?;
    match support.none_because {
        None => tracing::info!("each program has a control group of its own"),
        Some(why) => tracing::debug!("programs have no control groups of their own: {why}"),
    }
    Ok(())
}

async fn serve(
    paths: &Paths,
    (loaded, trust): (Loaded, TrustGate),
    (store, records): (Store, Where),
    (mut restored, alive): (crate::store::Restored, Option<AbortOnDropHandle<()>>),
    socket: Socket,
    Ends { mut signals, began, down, link, worker, standby_asks }: Ends,
) -> Result<(), Failure> {
    // Before any program runs whose output could contain them.
    secret::learn(&loaded.fleet.secrets).await;
    let me = identity(paths);
    let is_at_work = worker.is_some();
    end_leftovers(&restored.open_runs, me, is_at_work).await;
    child::mark_helpers_of(me);
    let (state, config) = (paths.state_dir.clone(), paths.config.clone());
    let live: HashSet<RunId> = restored.open_runs.iter().map(|run| run.run).collect();
    // look for the gate program once, before anything waits for it
    let prepared = tokio::task::spawn_blocking(move || {
        child::confined::keep_apart(&state, &config);
        // attempts placed by an earlier leader use private folders, too
        if !is_at_work {
            child::confined::remove_private_folders(&state);
        }
        child::run_folders::remove_run_folders_but(&live);
        child::gate_program();
    });
    prepared.await.map_err(|error| Failure::Internal(error.to_string()))?;
    let now = clock::now();
    let config_path = loaded.fleet.path.clone();
    let fleet = Arc::new(loaded.fleet);
    let agents = fleet.agents.len();
    let arrivals = arrivals(&store, &fleet).await?;
    let placed =
        restored.open_runs.iter().filter_map(|run| Some((run.run, run.node.as_ref()?.session.clone()?)));
    let placed = placed.collect();
    let (known, started) = begin(&mut restored, arrivals);
    let seed = seed(now.wall);
    let (engine, first) = Engine::restore(now, seed, fleet.clone(), known, started);

    let began_after = *store.newest().borrow();
    let (inbox, taken) = mpsc::channel(16_384);
    let (questions, asked) = mpsc::channel(1024);
    let condition = Arc::new(Mutex::new(Condition { config_at: Some(now.wall), ..Condition::default() }));
    let handle = Handle { inbox: inbox.clone(), questions, condition: condition.clone() };
    let pins = store.read(|reader| reader.pins()).await?;
    let pins = pins.into_iter().map(|(server, tool, hash, about)| {
        let about = about.and_then(|about| About::read(&about)).map(Arc::new);
        Pin { server, tool, hash, about }
    });
    let pins = pins.collect();
    let (ping_sender, ping_receiver) = mpsc::channel(pings::WAITING);
    let actor = Actor::new(store.clone(), &fleet, pins, inbox.clone(), ping_sender);
    let tools = actor.tools();
    let redis = actor.redis();
    let fleets = actor.fleets();
    let (watched, tally) = (actor.counting.fleet(), actor.counting.tally());
    let exported = Arc::new(ExportProgress::default());
    let remembering = Arc::<MemoryProgress>::default();
    let (tools_at_the_end, polled_with) = (tools.clone(), tools.clone());
    let event_loop = EventLoop::new(engine, store.clone(), actor, (taken, asked), condition, placed);
    let (ready, is_ready) = oneshot::channel();
    let mut scheduling = tokio::spawn(event_loop.run(first, ready));

    let (reload, reloads) = mpsc::channel(16);
    let services = Arc::new(Services {
        handle: handle.clone(),
        store: store.clone(),
        tools,
        paths: paths.clone(),
        socket: paths.socket.clone(),
        database: restored.database.clone(),
        records,
        ancestors: restored.ancestors.clone(),
        started_at: now.wall,
        began_after,
        clients: match &socket {
            Socket::Fresh(_) => Arc::default(),
            Socket::Served(serving) => serving.desk.clients.clone(),
        },
        role: Role::Leads,
        link: link.clone(),
        reload: reload.clone(),
        exported: exported.clone(),
        remembering: remembering.clone(),
        listening: Arc::default(),
        traces: Arc::default(),
    });
    // before any call is answered: clients find the socket there
    write_daemon_file(paths)?;
    let sending = tokio::spawn(traces::run(services.clone(), watched.clone(), down.clone()));
    tokio::spawn(telemetry::run(services.clone(), tally, watched, down.clone()));
    if let Some(mut asks) = standby_asks {
        // clients that have not noticed yet that this daemon leads
        let inbox = inbox.clone();
        tokio::spawn(async move {
            while let Some(message) = asks.recv().await {
                if inbox.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
    if let (Some(link), Some(_)) = (&link, store.epoch()) {
        tokio::spawn(placed::post::run(link.clone(), inbox.clone(), down.clone()));
    }
    let answering = link
        .clone()
        .zip(store.epoch())
        .map(|(link, epoch)| tokio::spawn(mailbox::run(link, services.clone(), epoch, down.clone())));
    let membership = link.map(|link| tokio::spawn(nodes::keep(link, fleets.clone(), down.clone())));
    let serving = match socket {
        Socket::Fresh(listener) => {
            let desk = SharedServices::new(services, None, &down);
            tokio::spawn(listen::serve(listener, paths.clone(), desk, down.clone()))
        }
        Socket::Served(serving) => {
            serving.desk.leads(services, &down);
            serving.task
        }
    };
    let watching = (config_path, paths.state_dir.clone(), trust);
    tokio::spawn(watch::run(watching, (loaded.text, fleet), reloads, inbox.clone()));
    let delivering = tokio::spawn(outbox::run(store.clone(), handle.clone(), down.clone()));
    let copied =
        exports::Copied { database: restored.database, ancestors: restored.ancestors, progress: exported };
    let exporting = tokio::spawn(exports::run(store.clone(), copied, redis, inbox.clone(), down.clone()));
    let remembering = tokio::spawn(remembering::run(
        store.clone(),
        remembering,
        fleets.clone(),
        inbox.clone(),
        down.clone(),
    ));
    tokio::spawn(room::look_after(
        store.clone(),
        handle.clone(),
        paths.state_dir.clone(),
        fleets.clone(),
        down.clone(),
    ));
    tokio::spawn(webhooks::run(store.clone(), handle.clone(), fleets, down.clone()));
    tokio::spawn(files::run(store.clone(), handle.clone(), down.clone()));
    tokio::spawn(polling::run(store.clone(), handle.clone(), polled_with, down.clone()));
    tokio::spawn(sources::watch_over(handle.clone(), down.clone()));
    tokio::spawn(hearing::run(store.clone(), handle.clone(), down.clone()));
    tokio::spawn(pings::daemon(handle.clone(), down.clone()));
    tokio::spawn(pings::agents(store.clone(), handle.clone(), began_after, ping_receiver));
    tokio::spawn(retention::run(store.clone(), handle.clone(), down.clone()));
    tokio::spawn(retention::look_after(store.clone(), handle.clone(), down.clone()));
    tokio::spawn(retention::watch_lead(store.clone(), handle.clone(), down.clone()));
    tokio::spawn(systemd::watchdog(handle.clone(), store.clone(), down.clone()));
    drop(alive);

    let announce = async {
        if is_ready.await.is_ok() {
            systemd::ready(agents);
            tracing::info!(
                agents,
                pid = std::process::id(),
                socket = %paths.socket.display(),
                state = %paths.state_dir.display(),
                took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                "ready"
            );
        }
    };
    tokio::pin!(announce);
    let mut announced = false;
    let ended = loop {
        tokio::select! {
            ended = &mut scheduling => break ended,
            () = &mut announce, if !announced => announced = true,
            signal = signals.next() => {
                if let (Some(worker), Signal::Stop { .. }) = (&worker, &signal) {
                    worker.drain();
                }
                handle_signal(signal, &handle, &reload).await;
            }
        }
    };
    if let Some(worker) = worker {
        worker.go_down(&mut signals).await;
    }
    down.cancel();
    let last = |task: Option<JoinHandle<()>>, within| async move {
        if let Some(task) = task {
            let _ = tokio::time::timeout(within, task).await;
        }
    };
    let two = Duration::from_secs(2);
    tokio::join!(
        last(Some(serving), two),
        last(answering, two),
        last(membership, two),
        last(Some(delivering), outbox::DELIVERIES_SHUTDOWN_TIMEOUT),
        last(Some(exporting), exports::EVENTS_SHUTDOWN_TIMEOUT),
        last(Some(remembering), remembering::CHANGES_SHUTDOWN_TIMEOUT),
        last(Some(sending), traces::SPANS_SHUTDOWN_TIMEOUT),
    );
    let tools = tools_at_the_end.lock().expect("no holder panics").clone();
    let _ = tokio::time::timeout(SERVERS_GRACE, tools.servers().stop_all()).await;
    runner::end_strays().await;
    match ended {
        Ok(Ok(())) => {
            tracing::info!("stopped");
            Ok(())
        }
        Ok(Err(error)) => Err(Failure::Store(error)),
        Err(panic) => Err(Failure::Internal(format!("the scheduling loop ended: {panic}"))),
    }
}

/// Ends the processes of runs that a dead daemon had in flight, and its MCP servers, before
/// anything new is claimed. Runs at other nodes are left alone, and so are those that this node
/// runs for an earlier leader, with its helpers.
async fn end_leftovers(open_runs: &[crate::domain::RunRecord], me: RunId, is_at_work: bool) {
    let is_here = |run: &&crate::domain::RunRecord| run.node.as_ref().is_none_or(|at| at.session.is_none());
    let open_runs: Vec<&crate::domain::RunRecord> = open_runs.iter().filter(is_here).collect();
    let me = (!is_at_work).then_some(me);
    let has_begun =
        |run: &&crate::domain::RunRecord| run.status != RunStatus::Queued || !run.processes.is_empty();
    let runs = open_runs.iter().copied().filter(has_begun).count();
    // a tool called before a run began, as its gate or probe, may have started a program
    let ids = open_runs.iter().map(|run| run.run).chain(me).collect();
    if runs > 0 || runner::lives_any_of(&ids).await {
        let mut started: Vec<(RunId, Vec<Process>)> =
            open_runs.iter().map(|run| (run.run, run.processes.clone())).collect();
        started.extend(me.map(|me| (me, Vec::new())));
        let ended = runner::reap_leftovers(&started, REAP_GRACE).await;
        if ended > 0 {
            tracing::warn!(runs, processes = ended, "ended what the last daemon had left in flight");
        } else {
            tracing::info!(runs, "the last daemon had runs in flight; no process of theirs is left");
        }
    }
}

/// Writes `daemon.json`. If the disk is full, the daemon starts without it, and it is written as
/// soon as there is space; a stale file of an earlier daemon is removed.
fn write_daemon_file(paths: &Paths) -> Result<(), Failure> {
    match lock::write_daemon_file(paths, &paths.socket) {
        Ok(()) => Ok(()),
        Err(cause) if lock::passes(&cause) => {
            tracing::warn!(error = %cause, "{} can't be written yet", paths.daemon_json().display());
            lock::remove_daemon_file(paths);
            Ok(())
        }
        Err(cause) => {
            Err(Failure::Io { doing: format!("can't write {}", paths.daemon_json().display()), cause })
        }
    }
}

/// Returns a seed that differs in each life, so that run ids are unique.
fn seed(now: Timestamp) -> u64 {
    let nanos = now.as_nanosecond().unsigned_abs();
    let low = u64::try_from(nanos & u128::from(u64::MAX)).unwrap_or(0);
    low ^ (u64::from(std::process::id()) << 40) ^ uuid::Uuid::now_v7().as_u64_pair().1
}

async fn handle_signal(signal: Signal, handle: &Handle, reload: &mpsc::Sender<Reload>) {
    match signal {
        Signal::Reload => {
            let _ = reload.send(Reload::Signal).await;
        }
        Signal::Meaningless("SIGXFSZ") => tracing::warn!("ignored SIGXFSZ: a file reached its size limit"),
        Signal::Meaningless(name) => tracing::warn!("ignored {name}"),
        Signal::Stop { again } => {
            let grace = handle.ask(|engine, _| engine.fleet().daemon.shutdown_grace).await;
            systemd::stopping(grace.and_then(|grace| Duration::try_from(grace).ok()).unwrap_or_default());
            tracing::info!(now = again, "stopping");
            let _ = handle
                .inbox
                .send(Message::ShutDown { reason: "signal".into(), now: again, answer: None })
                .await;
        }
    }
}
