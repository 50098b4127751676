//! Takes up changes of the configuration file: by command, by SIGHUP, and by watching it.
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

/// A file is read when it has been quiet for this long: editors write in several steps.
const QUIET: Duration = Duration::from_millis(300);

/// How often the machine's time zone is looked at. It is nowhere told when it changes.
const LOOK_AT_ZONE: Duration = Duration::from_secs(20);

/// Why the configuration is looked at.
enum Why {
    /// Somebody asks, and may wait for the answer.
    Asked(Option<(oneshot::Sender<Answer>, ChangeAsked)>),
    /// The file was touched.
    Touched,
    /// The machine has another time zone.
    Zone,
}

/// What is said of a `[store]` that is another one than at the start.
fn at_next_start() -> Diagnostic {
    Diagnostic::of_key(
        "store".into(),
        "[store] takes effect at the next start of the daemon; until then records are kept where they are"
            .into(),
        "`bgagent store copy` moves them while no daemon runs".into(),
    )
}

/// What is said of a name, of labels, or of `leads` that are others than at the start.
fn node_at_next_start() -> Diagnostic {
    Diagnostic::of_key(
        "daemon".into(),
        "`node`, `labels` and `leads` of [daemon] take effect at the next start of the daemon".into(),
        "`bgagent nodes` shows those in force".into(),
    )
}

/// Reads the file whenever somebody asks for it or it changes. When the machine's time zone changes, what is in
/// force is read anew for it. With the file comes the state folder, which no tool may reach. `first` is what is in force: its text, whether it has agents,
/// where records are kept, and which node it is.
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
    let mut look_at_zone = tokio::time::interval(LOOK_AT_ZONE);
    look_at_zone.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    set_watch(&path, mode, &touch, &mut watcher);
    if watcher.is_some() {
        // it may have changed between the start and the watch
        let _ = touch.try_send(());
    }
    loop {
        let why = tokio::select! {
            reload = asked.recv() => match reload {
                Some(Reload::Asked(answer, asked)) => Why::Asked(Some((answer, asked))),
                Some(Reload::Signal) => Why::Asked(None),
                None => return,
            },
            Some(()) = touched.recv() => {
                while tokio::time::timeout(QUIET, touched.recv()).await.is_ok() {}
                Why::Touched
            }
            _ = look_at_zone.tick() => Why::Zone,
        };
        let now_zone = config::system_zone();
        let moved = now_zone != zone;
        if matches!(why, Why::Zone) && !moved {
            continue;
        }
        let by_watch = matches!(why, Why::Touched);
        if watcher.as_ref().is_some_and(|watch| watch.places != Way::to(&path).places()) {
            // a link leads elsewhere now
            set_watch(&path, ReloadMode::Watch, &touch, &mut watcher);
        }
        let by_person = matches!(why, Why::Asked(Some(_)));
        let (file, state, trust) = (path.clone(), state_dir.clone(), trust.clone());
        // whoever did not ask for the file gets what is in force
        let text = matches!(why, Why::Zone).then(|| in_force.clone());
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
            RejectedFor::Missing => (errors_of(&gone(&path, mode)), RejectedFor::Missing),
            why => (errors_of(rejected), why),
        });
        // of a file that can't even be read there is no text: it may be refused for another reason than before
        if by_watch && *text == last_text && refusal == refused && !moved {
            continue; // touched, not changed
        }
        // what is refused leaves what is in force as it is: the zone is looked at again
        let by_zone = matches!(why, Why::Zone);
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
            Why::Asked(Some((answer, by))) => (Some(answer), by),
            Why::Asked(None) | Why::Touched | Why::Zone => (None, ChangeAsked::default()),
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
                    super::log::say_warnings(&loaded); // else whoever asked is told
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
                let rejected = if why == RejectedFor::Missing { gone(&path, mode) } else { rejected };
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
        // the newest file is no better for that
        if let (true, Some((errors, why))) = (by_zone, refused.clone()) {
            let path = path.display().to_string();
            let _ = inbox.send(Message::Rejected { path, errors, why }).await;
        }
    }
}

/// A file that lost all of its agents is more often one that is being written, or that a full disk
/// cut short, than the wish to remove the whole fleet.
fn half_written(loaded: Loaded, path: &Path) -> Box<Rejected> {
    let message = "the file has no agents; `bgagent reload` applies it anyway".to_owned();
    let diagnostics = vec![Diagnostic::of_file(message, None)];
    let Loaded { text, shown, .. } = loaded;
    Box::new(Rejected { path: path.to_owned(), text, shown, diagnostics, why: RejectedFor::Errors })
}

/// What is said of a file that was removed under the daemon.
fn gone(path: &Path, mode: ReloadMode) -> Box<Rejected> {
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

/// The errors of a refused file, each with its source line.
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

/// What is watched. Dropping it ends that.
struct Watch {
    places: BTreeSet<(PathBuf, OsString)>,
    _watcher: notify::RecommendedWatcher,
}

/// Watches folders, not the file: editors replace files. Those of the links that lead to it, too.
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
            let _ = touch.try_send(()); // one that waits is enough
        }
    });
    let folders: BTreeSet<&PathBuf> = places.iter().map(|(folder, _)| folder).collect();
    let made = made.and_then(|mut made| {
        let tries = folders.into_iter().map(|folder| made.watch(folder, RecursiveMode::NonRecursive));
        // a link may lead nowhere yet
        tries.reduce(|one, other| one.or(other)).unwrap_or(Ok(()))?;
        Ok(made)
    });
    match made {
        Ok(made) => *watch = Some(Watch { places, _watcher: made }),
        Err(error) => tracing::warn!(%error, "the configuration can't be watched; use `bgagent reload`"),
    }
}
