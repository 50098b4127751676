//! Takes up changes of the configuration file: by command, by SIGHUP, and by watching it.
use super::event_loop::{Answer, Message};
use crate::config::{self, Context, Diagnostic, Loaded, Rejected};
use crate::domain::ReloadMode;
use crate::protocol::{Code, RpcError};
use jiff::Timestamp;
use notify::{RecursiveMode, Watcher};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// A file is read when it has been quiet for this long: editors write in several steps.
const QUIET: Duration = Duration::from_millis(300);

/// Somebody wants the file to be read.
pub(super) enum Reload {
    /// A client, who waits for the answer.
    Asked(oneshot::Sender<Answer>),
    /// SIGHUP.
    Signal,
}

/// Reads the file whenever somebody asks for it or it changes. `first` is what is in force: its
/// text, and whether it has agents.
pub(super) async fn run(
    path: PathBuf,
    mode: ReloadMode,
    first: (String, bool),
    mut asked: mpsc::Receiver<Reload>,
    inbox: mpsc::Sender<Message>,
) {
    let (touch, mut touched) = mpsc::channel::<()>(1);
    let mut watcher = None;
    let (mut last_text, mut has_agents) = first;
    set_watch(&path, mode, &touch, &mut watcher);
    if watcher.is_some() {
        // it may have changed between the start and the watch
        let _ = touch.try_send(());
    }
    loop {
        let answer = tokio::select! {
            reload = asked.recv() => match reload {
                Some(Reload::Asked(answer)) => Some(Some(answer)),
                Some(Reload::Signal) => Some(None),
                None => return,
            },
            Some(()) = touched.recv() => {
                while tokio::time::timeout(QUIET, touched.recv()).await.is_ok() {}
                None
            }
        };
        let by_watch = answer.is_none();
        let file = path.clone();
        let read =
            tokio::task::spawn_blocking(move || config::load(&file, &Context::system(Timestamp::now())))
                .await;
        let Ok(read) = read else {
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
        if by_watch && *text == last_text {
            continue; // touched, not changed
        }
        last_text.clone_from(text);
        let answer = answer.flatten();
        let message = match read {
            Ok(loaded) => {
                has_agents = !loaded.fleet.agents.is_empty();
                set_watch(&path, loaded.fleet.daemon.reload, &touch, &mut watcher);
                let warnings = loaded
                    .warnings
                    .iter()
                    .map(|warning| config::render(std::slice::from_ref(warning), &loaded.text, &path, false))
                    .collect();
                Message::Loaded { fleet: loaded.fleet.into(), warnings, answer }
            }
            Err(rejected) => {
                let errors = errors_of(&rejected);
                if let Some(answer) = answer {
                    let error = RpcError::new(
                        Code::InvalidConfig,
                        format!("{} is invalid; the configuration in force stays", path.display()),
                    );
                    let diagnostics = rejected.diagnostics.iter().map(Diagnostic::to_json).collect();
                    let _ = answer.send(Err(error.errors(errors.clone()).diagnostics(diagnostics)));
                }
                Message::Rejected { path: path.display().to_string(), errors }
            }
        };
        if inbox.send(message).await.is_err() {
            return;
        }
    }
}

/// A file that lost all of its agents is more often one that is being written, or that a full disk
/// cut short, than the wish to remove the whole fleet.
fn half_written(loaded: Loaded, path: &std::path::Path) -> Box<Rejected> {
    let diagnostic = Diagnostic {
        is_error: true,
        message: "the file has no agents; `bgagent reload` takes it up anyway".into(),
        span: None,
        line: 0,
        column: 0,
        hint: None,
    };
    Box::new(Rejected { path: path.to_owned(), text: loaded.text, diagnostics: vec![diagnostic] })
}

/// The errors of a refused file, each with its source line.
pub(super) fn errors_of(rejected: &Rejected) -> Vec<String> {
    rejected
        .diagnostics
        .iter()
        .filter(|diagnostic| diagnostic.is_error)
        .map(|diagnostic| {
            config::render(std::slice::from_ref(diagnostic), &rejected.text, &rejected.path, false)
        })
        .collect()
}

/// Watches the folder, not the file: editors replace files. Dropping the watcher ends it.
fn set_watch(
    path: &std::path::Path,
    mode: ReloadMode,
    touch: &mpsc::Sender<()>,
    watcher: &mut Option<notify::RecommendedWatcher>,
) {
    if mode == ReloadMode::Manual {
        *watcher = None;
        return;
    }
    if watcher.is_some() {
        return;
    }
    let name = path.file_name().map(ToOwned::to_owned);
    let touch = touch.clone();
    let made = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let ours = |event: &notify::Event| {
            !event.kind.is_access() && event.paths.iter().any(|path| path.file_name() == name.as_deref())
        };
        if event.as_ref().is_ok_and(ours) {
            let _ = touch.try_send(()); // one that waits is enough
        }
    });
    let folder = path.parent().unwrap_or(path);
    match made.and_then(|mut made| made.watch(folder, RecursiveMode::NonRecursive).map(|()| made)) {
        Ok(made) => *watcher = Some(made),
        Err(error) => tracing::warn!(%error, "the configuration can't be watched; use `bgagent reload`"),
    }
}
