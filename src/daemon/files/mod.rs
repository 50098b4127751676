//! Files that start agents (`on = { file = … }`): scans their folders, and passes files that have
//! arrived and settled to the engine.
//!
//! A folder is scanned when the system reports a change in it (`watch`), when a file in it may have
//! settled (`sighting`), and each minute. A settled file is passed to the engine, which records its
//! arrival together with the outcome; a recorded file is not reported again in this life or a later
//! one. Files that the engine does not accept stay pending.
mod look;
mod sighting;
mod watch;

use super::clock;
use super::inbox::{Handle, Message};
use crate::domain::{AgentId, Entry, Fact, FileTrigger, FoundFile, counted};
use crate::engine::AwaitedFiles;
use crate::store::{Store, StoreError};
use look::FolderFiles;
use sighting::Sighting;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use watch::{Touched, Watching};

/// Interval of scans of an unchanged folder: change notifications may be missing or get lost.
const SCAN_INTERVAL: Duration = Duration::from_secs(60);
/// Delay after a change notification, since programs write files in several steps.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Pause between scans of a folder: at least this long, and at least this many times as long as the
/// scan took.
const SCAN_PAUSE: (Duration, u32) = (Duration::from_millis(100), 4);
/// Timeout of a scan; a folder that exceeds it is a problem, and others are not kept waiting.
const SCAN_TIMEOUT: Duration = Duration::from_secs(10);
/// Minimum interval between queries of the files that are waited for.
const QUERY_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum number of files of one agent passed to the engine at once.
const MAX_FILES_PER_BATCH: usize = 1000;

/// Passes arriving files to the engine until the daemon shuts down.
pub(super) async fn run(store: Store, handle: Handle, down: CancellationToken) {
    tokio::select! {
        () = down.cancelled() => {}
        () = watch_over(store, handle) => {}
    }
}

async fn watch_over(store: Store, handle: Handle) {
    let Some(mut inboxes) = Inboxes::load(&store, handle).await else { return };
    let mut newest = store.newest();
    let touched = Touched::default();
    let (touch, mut wakeups) = mpsc::channel(1);
    let mut watch = Watching::new(touched.clone(), touch);
    loop {
        newest.borrow_and_update();
        let asked = Instant::now();
        let Some(wanted) = inboxes.handle.ask(|engine, _| engine.awaited_files()).await else { return };
        inboxes.update_wanted(wanted);
        inboxes.touched(&std::mem::take(&mut *touched.lock().expect("no holder panics")));
        if inboxes.look(&store).await.is_none() {
            return;
        }
        let is_news = watch.set(inboxes.folders()).await;
        inboxes.handle.condition.lock().expect("no holder panics").unwatched =
            watch.problem().map(str::to_owned);
        if is_news {
            // something may have happened before the watch was set
            inboxes.mark_all_due();
        }
        let due = inboxes.next_look();
        tokio::select! {
            Some(()) = wakeups.recv() => tokio::time::sleep(DEBOUNCE).await,
            changed = newest.changed() => match changed {
                // an agent may have started, or have capacity again
                Ok(()) => tokio::time::sleep_until((asked + QUERY_INTERVAL).min(due)).await,
                Err(_) => return,
            },
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

/// The folders of all agents that wait for files.
struct Inboxes {
    handle: Handle,
    began: Instant,
    agents: BTreeMap<AgentId, Inbox>,
}

/// The files that one agent waits for.
struct Inbox {
    sighting: Sighting,
    /// The trigger; `None` if the agent no longer waits for files.
    by: Option<Arc<FileTrigger>>,
    is_stopped: bool,
    room: usize,
    /// Whether settled files were not accepted.
    is_pending: bool,
    due: Instant,
    /// The earliest time of the next scan.
    rests_until: Instant,
    /// The folder that is watched: its own, or an ancestor.
    folder: Option<PathBuf>,
    looking: Option<JoinHandle<ScanResult>>,
    problem: Option<String>,
    /// Number of files that could not be taken at the last scan.
    passed_over: usize,
    /// Whether the problem has been reported.
    is_reported: bool,
}

/// The result of a scan, and the nearest existing folder.
type ScanResult = (io::Result<FolderFiles>, Option<PathBuf>);

impl Inbox {
    fn new(now: Instant) -> Self {
        Self {
            sighting: Sighting::default(),
            by: None,
            is_stopped: false,
            room: 0,
            is_pending: false,
            due: now,
            rests_until: now,
            folder: None,
            looking: None,
            problem: None,
            passed_over: 0,
            is_reported: false,
        }
    }

    /// Returns whether its folder is scanned.
    fn is_awake(&self) -> bool {
        self.by.is_some() && !self.is_stopped
    }
}

impl Inboxes {
    /// Loads what arrived in earlier lives, retrying while the database can't be read. `None`: it is closed.
    async fn load(store: &Store, handle: Handle) -> Option<Self> {
        let mut has_warned = false;
        let known = loop {
            match store.read(|reader| reader.arrived_files()).await {
                Ok(known) => break known,
                Err(StoreError::Closed) => return None,
                Err(error) => {
                    if !std::mem::replace(&mut has_warned, true) {
                        tracing::warn!(%error, "which files have arrived could not be read; trying again");
                    }
                    tokio::time::sleep(QUERY_INTERVAL).await;
                }
            }
        };
        let now = Instant::now();
        let mut agents = BTreeMap::<AgentId, Inbox>::new();
        for file in known {
            let inbox = agents.entry(file.agent).or_insert_with(|| Inbox::new(now));
            inbox.sighting.remember(file.path, file.mark, file.is_gone);
        }
        Some(Self { handle, began: now, agents })
    }

    /// Applies the current set of awaited files.
    fn update_wanted(&mut self, wanted: Vec<AwaitedFiles>) {
        let now = Instant::now();
        let names: BTreeSet<AgentId> = wanted.iter().map(|one| one.agent.clone()).collect();
        for (_, inbox) in self.agents.iter_mut().filter(|(agent, _)| !names.contains(*agent)) {
            inbox.by = None;
        }
        for AwaitedFiles { agent, by, room, is_stopped } in wanted {
            let inbox = self.agents.entry(agent).or_insert_with(|| Inbox::new(now));
            if inbox.by.as_ref() != Some(&by) {
                inbox.by = Some(by);
                inbox.sighting.begin_anew();
                inbox.due = now;
            }
            let has_woken = inbox.is_stopped && !is_stopped;
            if has_woken || (inbox.is_pending && room > 0) {
                inbox.due = now;
            }
            (inbox.is_stopped, inbox.room) = (is_stopped, room);
        }
    }

    /// Marks the inboxes of changed folders as due.
    fn touched(&mut self, touched: &BTreeSet<PathBuf>) {
        let now = Instant::now();
        for inbox in self.agents.values_mut() {
            let Some(by) = &inbox.by else { continue };
            let own = by.folder.ancestors().chain(inbox.folder.as_deref());
            if own.into_iter().any(|folder| touched.contains(folder)) {
                inbox.due = now;
            }
        }
    }

    fn mark_all_due(&mut self) {
        let now = Instant::now();
        self.agents.values_mut().for_each(|inbox| inbox.due = now);
    }

    /// Returns the folders to be watched.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let awake = self.agents.values().filter(|inbox| inbox.is_awake() && inbox.looking.is_none());
        awake.filter_map(|inbox| inbox.folder.clone()).collect()
    }

    /// Returns when the next folder is due.
    fn next_look(&self) -> Instant {
        let awake = self.agents.values().filter(|inbox| inbox.is_awake());
        let due = awake.map(|inbox| inbox.due.max(inbox.rests_until)).min();
        due.unwrap_or_else(|| Instant::now() + SCAN_INTERVAL)
    }

    /// Scans each folder that is due. `None`: the daemon shuts down.
    async fn look(&mut self, store: &Store) -> Option<()> {
        let now = Instant::now();
        let is_due = |inbox: &Inbox| inbox.due <= now && inbox.rests_until <= now;
        let due: Vec<AgentId> =
            self.agents.iter().filter(|(_, inbox)| is_due(inbox)).map(|(agent, _)| agent.clone()).collect();
        for agent in due {
            let inbox = self.agents.get_mut(&agent)?;
            inbox.due = Instant::now() + SCAN_INTERVAL;
            let Some(by) = inbox.by.clone() else {
                let gone: Vec<String> =
                    inbox.sighting.there().into_iter().take(MAX_FILES_PER_BATCH).collect();
                self.record_left(store, &agent, gone, Vec::new()).await;
                continue;
            };
            if inbox.is_stopped {
                continue;
            }
            let began = Instant::now();
            let found = scan(inbox, &by).await;
            let rest = (began.elapsed() * SCAN_PAUSE.1).max(SCAN_PAUSE.0);
            inbox.rests_until = Instant::now() + rest;
            let is_missing = matches!(&found, Err(error) if error.kind() == ErrorKind::NotFound);
            self.set_problem(&agent, &by, &found);
            match found {
                Ok(found) => self.found(store, &agent, by, found.files).await?,
                Err(_) if is_missing => self.found(store, &agent, by, Vec::new()).await?,
                Err(_) => {}
            }
        }
        self.publish_problems();
        Some(())
    }

    /// Handles the files that a scan found in a folder. `None`: the daemon shuts down.
    async fn found(
        &mut self,
        store: &Store,
        agent: &AgentId,
        by: Arc<FileTrigger>,
        files: Vec<FoundFile>,
    ) -> Option<()> {
        let settle = Duration::try_from(by.settle).unwrap_or_default();
        let now = self.began.elapsed();
        let inbox = self.agents.get_mut(agent)?;
        let looked = inbox.sighting.look(files, now, settle);
        if let Some(wake) = looked.wake {
            inbox.due = inbox.due.min(self.began + wake);
        }
        let room = inbox.room;
        let settled = looked.settled.len();
        let mut taken = 0;
        if settled > 0 && room > 0 {
            let files: Vec<FoundFile> = looked.settled.into_iter().take(MAX_FILES_PER_BATCH).collect();
            let (answer, answered) = oneshot::channel();
            let message = Message::FilesArrived { agent: agent.clone(), by, files: files.clone(), answer };
            self.handle.inbox.send(message).await.ok()?;
            taken = answered.await.ok()?;
            self.agents.get_mut(agent)?.sighting.taken(&files[..taken.min(files.len())]);
        }
        self.agents.get_mut(agent)?.is_pending = taken < settled;
        let first = |paths: Vec<String>| paths.into_iter().take(MAX_FILES_PER_BATCH).collect();
        self.record_left(store, agent, first(looked.gone), first(looked.back)).await;
        Some(())
    }

    /// Records that files have been removed, or have come back.
    async fn record_left(&mut self, store: &Store, agent: &AgentId, gone: Vec<String>, back: Vec<String>) {
        if gone.is_empty() && back.is_empty() {
            return;
        }
        let Some(inbox) = self.agents.get(agent) else { return };
        let marked =
            back.iter().filter_map(|path| Some((path.clone(), inbox.sighting.mark_of(path)?))).collect();
        let fact = Fact::FilesLeft { agent: agent.clone(), gone: gone.clone(), back: marked };
        match store.commit(vec![Entry { at: clock::now().wall, fact }]).await {
            Ok(_) => {
                let now = self.began.elapsed();
                let Some(inbox) = self.agents.get_mut(agent) else { return };
                inbox.sighting.left(&gone, &back, now);
                if gone.len() == MAX_FILES_PER_BATCH || back.len() == MAX_FILES_PER_BATCH {
                    inbox.due = Instant::now();
                }
            }
            Err(error) => tracing::debug!(%agent, %error, "which files are gone is recorded later"),
        }
    }

    /// Reports in `status` and in the log why a folder can't be read, or that it can be read again.
    fn set_problem(&mut self, agent: &AgentId, by: &FileTrigger, found: &io::Result<FolderFiles>) {
        let folder = by.folder.display();
        let passed_over = found.as_ref().map_or(0, |found| found.unreadable);
        let problem = match found {
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(format!("there is no folder {folder} for files to arrive in"))
            }
            Err(error) => Some(format!("{folder} can't be looked at: {error}")),
        };
        let Some(inbox) = self.agents.get_mut(agent) else { return };
        if passed_over > inbox.passed_over {
            // the others are taken all the same
            let files = counted(passed_over, "file");
            tracing::warn!(%agent, "{files} in {folder} can't be taken: the path is not UTF-8, or the file can't be read");
        }
        inbox.passed_over = passed_over;
        if inbox.problem == problem {
            return;
        }
        match &problem {
            Some(problem) => tracing::warn!(%agent, "{problem}"),
            None => tracing::info!(%agent, "{folder} can be looked at again"),
        }
        inbox.problem = problem;
    }

    /// Updates the problems of awaited folders in `status`.
    fn publish_problems(&mut self) {
        for (agent, inbox) in &mut self.agents {
            let problem = inbox.problem.clone().filter(|_| inbox.is_awake());
            // an agent that no longer waits for files may have another source by now
            if problem.is_some() || std::mem::take(&mut inbox.is_reported) {
                inbox.is_reported = problem.is_some();
                self.handle.set_source(agent, problem);
            }
        }
    }
}

/// Scans the folder of an agent. If a scan exceeds the timeout, its result is awaited later, and no
/// second scan is started.
async fn scan(inbox: &mut Inbox, by: &Arc<FileTrigger>) -> io::Result<FolderFiles> {
    let timeout = if inbox.looking.is_some() { Duration::ZERO } else { SCAN_TIMEOUT };
    let mut looking = inbox.looking.take().unwrap_or_else(|| {
        let by = by.clone();
        tokio::task::spawn_blocking(move || (look::files(&by), look::nearest(&by.folder)))
    });
    match tokio::time::timeout(timeout, &mut looking).await {
        Ok(Ok((found, folder))) => {
            inbox.folder = folder;
            found
        }
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => {
            inbox.looking = Some(looking);
            inbox.due = Instant::now() + SCAN_TIMEOUT;
            Err(io::Error::new(ErrorKind::TimedOut, "it does not answer"))
        }
    }
}
