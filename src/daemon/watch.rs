//! Applies changes of the configuration file: on command, on SIGHUP, and by watching it.
use crate::config::{self, Context, Diagnostic, Loaded, Rejected, RejectedFor, Way};
use crate::daemon::applying::{self, ApplyAsked};
use crate::daemon::in_force::joined;
use crate::daemon::inbox::{Answer, ChangeAsked, Message};
use crate::daemon::open_files::allow_open_files;
use crate::daemon::services::Reload;
use crate::daemon::trust::TrustGate;
use crate::domain::{AppliedConfig, Fleet, NodeSpec, ReloadMode, StoreSpec};
use crate::protocol::{Code, RpcError};
use crate::secret;
use notify::{RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Delay until a changed file is read: editors write in several steps.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// How often the machine's time zone is checked, since its changes are not announced.
const ZONE_CHECK_INTERVAL: Duration = Duration::from_secs(20);

/// Why the configuration is read.
enum ReadCause {
    /// On request of a client, which may wait for the answer.
    Asked(Option<(oneshot::Sender<Answer>, ChangeAsked)>),
    /// The file was touched.
    Touched,
    /// The machine's time zone has changed.
    Zone,
    /// A configuration for the fleet.
    Applied(Box<ApplyAsked>),
}

/// Returns the warning about a `[store]` that differs from the one at the start.
fn at_next_start() -> Diagnostic {
    Diagnostic::of_key(
        "store".into(),
        "[store] takes effect at the next start of the daemon; until then records are kept where they are"
            .into(),
        "`bgagent store copy` moves them while no daemon runs".into(),
    )
}

/// Returns the warning about a node name, labels or `leads` that differ from those at the start.
fn node_at_next_start() -> Diagnostic {
    Diagnostic::of_key(
        "daemon".into(),
        "`node`, `labels` and `leads` of [daemon] take effect at the next start of the daemon".into(),
        "`bgagent nodes` shows those in force".into(),
    )
}

/// Reads the file on request and when it changes. When the machine's time zone changes, the text in
/// force is parsed anew. The state folder is passed along, since no tool may reach it. `first` is
/// what is in force: its text, whether it has agents, where records are stored, and which node it
/// is.
pub(super) async fn run(
    (path, state_dir, trust): (PathBuf, PathBuf, TrustGate),
    (text, fleet): (String, Arc<Fleet>),
    mut asked: mpsc::Receiver<Reload>,
    inbox: mpsc::Sender<Message>,
) {
    let (touch, mut touched) = mpsc::channel::<()>(1);
    let mut look_at_zone = tokio::time::interval(ZONE_CHECK_INTERVAL);
    look_at_zone.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let first = (fleet.store.clone(), fleet.daemon.node.clone());
    let mut keeper = ConfigKeeper {
        path,
        state_dir,
        trust,
        current: fleet,
        in_force: text.clone(),
        last_text: text,
        refused: None,
        zone: config::system_zone(),
        first,
        touch,
        watch: None,
        inbox,
    };
    keeper.set_watch(keeper.current.daemon.reload);
    if keeper.watch.is_some() {
        // it may have changed between the start and the watch
        let _ = keeper.touch.try_send(());
    }
    loop {
        let why = tokio::select! {
            reload = asked.recv() => match reload {
                Some(Reload::Asked(answer, asked)) => ReadCause::Asked(Some((answer, asked))),
                Some(Reload::Signal) => ReadCause::Asked(None),
                Some(Reload::Apply(wanted)) => ReadCause::Applied(wanted),
                None => return,
            },
            Some(()) = touched.recv() => {
                while tokio::time::timeout(DEBOUNCE, touched.recv()).await.is_ok() {}
                ReadCause::Touched
            }
            _ = look_at_zone.tick() => ReadCause::Zone,
        };
        let goes_on = match why {
            ReadCause::Applied(wanted) => keeper.apply(*wanted).await,
            why => keeper.look(why).await,
        };
        if !goes_on {
            return;
        }
    }
}

/// What is in force, and what is known of the file.
struct ConfigKeeper {
    path: PathBuf,
    state_dir: PathBuf,
    trust: TrustGate,
    /// What is in force.
    current: Arc<Fleet>,
    /// The text of the file that is in force.
    in_force: String,
    /// The text of the file as it was read last.
    last_text: String,
    /// Why that is not in force.
    refused: Option<(Vec<String>, RejectedFor)>,
    zone: jiff::tz::TimeZone,
    /// Where records are kept, and which node this is, since the start.
    first: (Option<Arc<StoreSpec>>, NodeSpec),
    touch: mpsc::Sender<()>,
    watch: Option<Watch>,
    inbox: mpsc::Sender<Message>,
}

impl ConfigKeeper {
    fn set_watch(&mut self, mode: ReloadMode) {
        set_watch(&self.path, mode, &self.touch, &mut self.watch);
    }

    /// Reads the file. False: nobody needs it any more.
    async fn look(&mut self, why: ReadCause) -> bool {
        let now_zone = config::system_zone();
        let moved = now_zone != self.zone;
        let (by_watch, by_zone) = (matches!(why, ReadCause::Touched), matches!(why, ReadCause::Zone));
        if by_zone && !moved {
            return true;
        }
        if self.watch.as_ref().is_some_and(|watch| watch.places != Way::to(&self.path).places()) {
            // a link leads elsewhere now
            self.set_watch(ReloadMode::Watch);
        }
        // whoever did not ask for the file gets what is in force
        let text = by_zone.then(|| self.in_force.clone());
        let by_person = matches!(why, ReadCause::Asked(Some(_)));
        let Some(read) = self.read(text, self.current.applied.clone(), by_person).await else { return true };
        let read = match read {
            Ok(loaded) if by_watch && !self.current.agents.is_empty() && loaded.fleet.agents.is_empty() => {
                Err(half_written(loaded, &self.path))
            }
            read => read,
        };
        let text = match &read {
            Ok(loaded) => &loaded.text,
            Err(rejected) => &rejected.text,
        };
        let refusal = read.as_ref().err().map(|rejected| match rejected.why {
            RejectedFor::Missing => (errors_of(&self.missing_file()), RejectedFor::Missing),
            why => (errors_of(rejected), why),
        });
        // of a file that can't even be read there is no text: it may be refused for another reason than before
        if by_watch && *text == self.last_text && refusal == self.refused && !moved {
            return true; // touched, not changed
        }
        // what is refused leaves what is in force as it is: the zone is looked at again
        if moved && (by_zone || read.is_ok()) {
            tracing::info!(
                zone = now_zone.iana_name().unwrap_or("unnamed"),
                "the machine has another time zone"
            );
            self.zone = now_zone;
        }
        if !by_zone {
            self.last_text.clone_from(text);
            self.refused = refusal;
        }
        let (answer, by) = match why {
            ReadCause::Asked(Some((answer, by))) => (Some(answer), by),
            _ => (None, ChangeAsked::default()),
        };
        let goes_on = match read {
            Ok(loaded) => self.take_up(loaded, answer, by).await,
            Err(rejected) => self.refuse(rejected, answer).await,
        };
        // the newest file is no better for that
        if let (true, Some((errors, why))) = (by_zone, self.refused.clone()) {
            let path = self.path.display().to_string();
            let _ = self.inbox.send(Message::Rejected { path, errors, why }).await;
        }
        goes_on
    }

    /// This text, or else that of the file, with a revision over it. `None`: reading it failed.
    async fn read(
        &self,
        text: Option<String>,
        applied: Option<Arc<AppliedConfig>>,
        by_person: bool,
    ) -> Option<Result<Loaded, Box<Rejected>>> {
        let (file, state, trust) = (self.path.clone(), self.state_dir.clone(), self.trust.clone());
        let read = tokio::task::spawn_blocking(move || {
            let context = Context::system(crate::clock::wall()).of_state(&state);
            let own = match text {
                Some(text) => config::parse(text, &file, &context),
                None => config::load(&file, &context).and_then(|loaded| match by_person {
                    true => trust.admit_asked(loaded),
                    false => trust.admit(loaded),
                }),
            }?;
            // the records are where they were at the start
            joined(own, applied, &state)
        });
        let read = read.await.ok();
        if read.is_none() {
            tracing::error!("reading the configuration failed");
        }
        read
    }

    /// Has a valid configuration be in force. False: nobody needs it any more.
    async fn take_up(
        &mut self,
        mut loaded: Loaded,
        answer: Option<oneshot::Sender<Answer>>,
        asked: ChangeAsked,
    ) -> bool {
        let (store, node) = &self.first;
        if loaded.fleet.store != *store {
            loaded.warnings.push(at_next_start());
        }
        if loaded.fleet.daemon.node != *node && store.is_some() {
            loaded.warnings.push(node_at_next_start());
        }
        self.in_force.clone_from(&loaded.text);
        secret::learn(&loaded.fleet.secrets).await;
        allow_open_files(loaded.fleet.daemon.max_parallel_runs);
        if answer.is_none() {
            super::log::log_warnings(&loaded); // else whoever asked is told
        }
        self.set_watch(loaded.fleet.daemon.reload);
        let warnings = self.rendered(&loaded);
        self.current = Arc::new(loaded.fleet);
        let message = Message::Loaded { fleet: self.current.clone(), warnings, asked, answer };
        self.inbox.send(message).await.is_ok()
    }

    fn rendered(&self, loaded: &Loaded) -> Vec<String> {
        let render = |one| config::render(std::slice::from_ref(one), &loaded.shown, &self.path, false);
        loaded.warnings.iter().map(render).collect()
    }

    /// Says why a configuration is not in force. False: nobody needs it any more.
    async fn refuse(&self, rejected: Box<Rejected>, answer: Option<oneshot::Sender<Answer>>) -> bool {
        let why = rejected.why;
        let rejected = if why == RejectedFor::Missing { self.missing_file() } else { rejected };
        let errors = errors_of(&rejected);
        if let Some(answer) = answer {
            let is = match why {
                RejectedFor::Errors => "invalid",
                RejectedFor::Missing => "missing",
                RejectedFor::Owner => "not safe from others",
                RejectedFor::Trust => "not trusted",
            };
            let code = match why {
                RejectedFor::Trust => Code::Refused,
                _ => Code::InvalidConfig,
            };
            let path = rejected.path.display();
            let error = RpcError::new(code, format!("{path} is {is}; the configuration in force stays"));
            let diagnostics = rejected.diagnostics.iter().map(|one| one.to_json(&rejected.path)).collect();
            let _ = answer.send(Err(error.errors(errors.clone()).diagnostics(diagnostics)));
        }
        let path = rejected.path.display().to_string();
        self.inbox.send(Message::Rejected { path, errors, why }).await.is_ok()
    }

    /// Applies a configuration to the fleet, or tells what it would change. What is refused is told whoever asks, and nobody
    /// else. False: nobody needs it any more.
    async fn apply(&mut self, wanted: ApplyAsked) -> bool {
        if let Some(answer) = wanted.at_once(&self.current) {
            let _ = wanted.answer.send(answer);
            return true;
        }
        let ApplyAsked { config, dry_run, answer, asked, .. } = wanted;
        let origin = PathBuf::from(&config.origin);
        let revision = self.current.newest_revision() + 1;
        let applied = Arc::new(AppliedConfig { revision, ..config });
        let Some(read) = self.read(Some(self.in_force.clone()), Some(applied), false).await else {
            return true;
        };
        let loaded = match read {
            Ok(loaded) => loaded,
            Err(rejected) => {
                let rejected = Rejected { path: origin, ..*rejected };
                let _ = answer.send(Err(applying::invalid(&rejected, errors_of(&rejected))));
                return true;
            }
        };
        if dry_run {
            let _ = answer.send(applying::plan(&self.current, &loaded, self.rendered(&loaded)));
            return true;
        }
        let before = self.current.clone();
        let (tell, told) = oneshot::channel();
        let goes_on = self.take_up(loaded, Some(tell), asked).await;
        let Ok(told) = told.await else { return goes_on };
        // one that waits to be recorded comes to be in force
        if told.as_ref().is_err_and(|error| !error.is_pending()) {
            self.current = before;
        }
        let _ = answer.send(told);
        goes_on
    }

    fn missing_file(&self) -> Box<Rejected> {
        missing_file(&self.path, self.current.daemon.reload)
    }
}

/// Rejects a file that has lost all of its agents: more often it is being written, or was truncated
/// by a full disk, than meant to remove the whole fleet.
fn half_written(loaded: Loaded, path: &Path) -> Box<Rejected> {
    let message = "the file has no agents; `bgagent reload` applies it anyway".to_owned();
    let diagnostics = vec![Diagnostic::of_file(message, None)];
    let Loaded { text, shown, .. } = loaded;
    Box::new(Rejected { path: path.to_owned(), text, shown, diagnostics, why: RejectedFor::Errors })
}

/// Returns the rejection of a file that was removed while the daemon runs.
fn missing_file(path: &Path, mode: ReloadMode) -> Box<Rejected> {
    let message = format!("{} is missing: what it said stays in force until the daemon ends", path.display());
    let hint = match mode {
        ReloadMode::Watch => "put it back",
        ReloadMode::Manual => "put it back, and then `bgagent reload`",
    };
    let hint = hint.to_owned();
    let diagnostics = vec![Diagnostic::of_file(message, Some(hint))];
    let (text, shown) = (String::new(), String::new());
    Box::new(Rejected { path: path.to_owned(), text, shown, diagnostics, why: RejectedFor::Missing })
}

/// Renders the errors of a rejected file, each with its source line.
pub(super) fn errors_of(rejected: &Rejected) -> Vec<String> {
    rejected
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.is_error)
        .map(|diagnostic| {
            config::render(std::slice::from_ref(diagnostic), &rejected.shown, &rejected.path, false)
        })
        .collect()
}

/// The watches; dropping it removes them.
struct Watch {
    places: BTreeSet<(PathBuf, OsString)>,
    _watcher: notify::RecommendedWatcher,
}

/// Watches folders instead of the file, since editors replace files. The folders of symbolic links
/// that lead to it are included.
fn set_watch(path: &Path, mode: ReloadMode, touch: &mpsc::Sender<()>, watch: &mut Option<Watch>) {
    if mode == ReloadMode::Manual {
        *watch = None;
        return;
    }
    let places = Way::to(path).places();
    if watch.as_ref().is_some_and(|watch| watch.places == places) {
        return;
    }
    let names: BTreeSet<_> = places.iter().map(|(_, name)| name.clone()).collect();
    let touch = touch.clone();
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = |event: &notify::Event| {
            let named = |path: &PathBuf| path.file_name().is_some_and(|name| names.contains(name));
            !event.kind.is_access() && event.paths.iter().any(named)
        };
        if event.as_ref().is_ok_and(ours) {
            let _ = touch.try_send(()); // one pending notification is enough
        }
    });
    let folders: BTreeSet<&PathBuf> = places.iter().map(|(folder, _)| folder).collect();
    let made = made.and_then(|mut made| {
        let tries = folders.into_iter().map(|folder| made.watch(folder, RecursiveMode::NonRecursive));
        // a link may be dangling
        tries.reduce(|one, other| one.or(other)).unwrap_or(Ok(()))?;
        Ok(made)
    });
    match made {
        Ok(made) => *watch = Some(Watch { places, _watcher: made }),
        Err(error) => tracing::warn!(%error, "the configuration can't be watched; use `bgagent reload`"),
    }
}
