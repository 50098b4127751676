//! Applies changes of the configuration file: on command, on SIGHUP, and by watching it.
use crate::config::{self, Context, Diagnostic, Loaded, Rejected, RejectedFor, Way};
use crate::daemon::inbox::{Answer, ChangeAsked, Message};
use crate::daemon::open_files::allow_open_files;
use crate::daemon::services::Reload;
use crate::daemon::trust::TrustGate;
use crate::domain::{NodeSpec, ReloadMode, StoreSpec};
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
    mode: ReloadMode,
    first: (String, bool, Option<Arc<StoreSpec>>, NodeSpec),
    mut asked: mpsc::Receiver<Reload>,
    inbox: mpsc::Sender<Message>,
) {
    let (touch, mut touched) = mpsc::channel::<()>(1);
    let mut watcher = None;
    let (mut last_text, mut has_agents, store, node) = first;
    let mut in_force = last_text.clone();
    let mut refused: Option<(Vec<String>, RejectedFor)> = None;
    let mut mode = mode;
    let mut zone = config::system_zone();
    let mut look_at_zone = tokio::time::interval(ZONE_CHECK_INTERVAL);
    look_at_zone.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    set_watch(&path, mode, &touch, &mut watcher);
    if watcher.is_some() {
        // it may have changed between the start and the watch
        let _ = touch.try_send(());
    }
    loop {
        let why = tokio::select! {
            reload = asked.recv() => match reload {
                Some(Reload::Asked(answer, asked)) => ReadCause::Asked(Some((answer, asked))),
                Some(Reload::Signal) => ReadCause::Asked(None),
                None => return,
            },
            Some(()) = touched.recv() => {
                while tokio::time::timeout(DEBOUNCE, touched.recv()).await.is_ok() {}
                ReadCause::Touched
            }
            _ = look_at_zone.tick() => ReadCause::Zone,
        };
        let now_zone = config::system_zone();
        let moved = now_zone != zone;
        if matches!(why, ReadCause::Zone) && !moved {
            continue;
        }
        let by_watch = matches!(why, ReadCause::Touched);
        if watcher.as_ref().is_some_and(|watch| watch.places != Way::to(&path).places()) {
            // a symbolic link now points elsewhere
            set_watch(&path, ReloadMode::Watch, &touch, &mut watcher);
        }
        let by_person = matches!(why, ReadCause::Asked(Some(_)));
        let (file, state, trust) = (path.clone(), state_dir.clone(), trust.clone());
        // a change of the zone parses the text in force, not the file
        let text = matches!(why, ReadCause::Zone).then(|| in_force.clone());
        let read = tokio::task::spawn_blocking(move || {
            let context = Context::system(crate::clock::wall()).of_state(&state);
            match text {
                Some(text) => config::parse(text, &file, &context),
                None => config::load(&file, &context).and_then(|loaded| match by_person {
                    true => trust.admit_asked(loaded),
                    false => trust.admit(loaded),
                }),
            }
        });
        let Ok(read) = read.await else {
            tracing::error!("reading the configuration failed");
            continue;
        };
        let read = match read {
            Ok(loaded) if by_watch && has_agents && loaded.fleet.agents.is_empty() => {
                Err(half_written(loaded, &path))
            }
            read => read,
        };
        let text = match &read {
            Ok(loaded) => &loaded.text,
            Err(rejected) => &rejected.text,
        };
        let refusal = read.as_ref().err().map(|rejected| match rejected.why {
            RejectedFor::Missing => (errors_of(&missing_file(&path, mode)), RejectedFor::Missing),
            why => (errors_of(rejected), why),
        });
        // an unreadable file has no text, so its refusal is compared as well
        if by_watch && *text == last_text && refusal == refused && !moved {
            continue; // touched, not changed
        }
        // if the file is rejected, the zone is not updated, so that it is checked again
        let by_zone = matches!(why, ReadCause::Zone);
        if moved && (by_zone || read.is_ok()) {
            tracing::info!(
                zone = now_zone.iana_name().unwrap_or("unnamed"),
                "the machine has another time zone"
            );
            zone = now_zone;
        }
        if !by_zone {
            last_text.clone_from(text);
            refused = refusal;
        }
        let (answer, by) = match why {
            ReadCause::Asked(Some((answer, by))) => (Some(answer), by),
            ReadCause::Asked(None) | ReadCause::Touched | ReadCause::Zone => (None, ChangeAsked::default()),
        };
        let message = match read {
            Ok(mut loaded) => {
                if loaded.fleet.store != store {
                    loaded.warnings.push(at_next_start());
                }
                if loaded.fleet.daemon.node != node && store.is_some() {
                    loaded.warnings.push(node_at_next_start());
                }
                has_agents = !loaded.fleet.agents.is_empty();
                in_force.clone_from(&loaded.text);
                secret::learn(&loaded.fleet.secrets).await;
                allow_open_files(loaded.fleet.daemon.max_parallel_runs);
                if answer.is_none() {
                    super::log::log_warnings(&loaded); // otherwise the client receives them
                }
                mode = loaded.fleet.daemon.reload;
                set_watch(&path, mode, &touch, &mut watcher);
                let warnings = loaded
                    .warnings
                    .iter()
                    .map(|warning| config::render(std::slice::from_ref(warning), &loaded.shown, &path, false))
                    .collect();
                Message::Loaded { fleet: loaded.fleet.into(), warnings, asked: by, answer }
            }
            Err(rejected) => {
                let why = rejected.why;
                let rejected = if why == RejectedFor::Missing { missing_file(&path, mode) } else { rejected };
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
                    let error = RpcError::new(
                        code,
                        format!("{} is {is}; the configuration in force stays", path.display()),
                    );
                    let diagnostics = rejected.diagnostics.iter().map(|one| one.to_json(&path)).collect();
                    let _ = answer.send(Err(error.errors(errors.clone()).diagnostics(diagnostics)));
                }
                Message::Rejected { path: path.display().to_string(), errors, why }
            }
        };
        if inbox.send(message).await.is_err() {
            return;
        }
        // the newest file remains rejected
        if let (true, Some((errors, why))) = (by_zone, refused.clone()) {
            let path = path.display().to_string();
            let _ = inbox.send(Message::Rejected { path, errors, why }).await;
        }
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
