//! Hears from the system that something happens in folders. It may miss something, as on a network file system, so folders
//! are looked at now and then as well. Each question to a file system is asked on a thread that may wait for it.
use notify::{RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Folders that something has happened in.
pub(super) type Touched = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Which folder it is: a new one of the same name has to be watched anew.
type Identity = (u64, u64);

/// How long a file system that does not answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// What could not be watched is tried again after so long: a limit may have been lifted.
const AGAIN: Duration = Duration::from_secs(60);

/// Has folders watched.
pub(super) struct Watching {
    touched: Touched,
    touch: mpsc::Sender<()>,
    idle: Option<FolderWatch>,
    /// What is at work now. It may hang with its file system.
    busy: Option<JoinHandle<(FolderWatch, bool)>>,
    /// Why not all are watched.
    problem: Option<String>,
    patience: Duration,
}

impl Watching {
    /// Nothing is watched yet. A word goes to `touch` when there are folders in `touched`.
    pub(super) fn new(touched: Touched, touch: mpsc::Sender<()>) -> Self {
        Self { touched, touch, idle: None, busy: None, problem: None, patience: PATIENCE }
    }

    /// Watches these folders and no others. True: something is watched that was not before, where something may have happened
    /// meanwhile. A file system that hangs is waited for once; until it answers, nothing else is watched.
    pub(super) async fn set(&mut self, folders: BTreeSet<PathBuf>) -> bool {
        let patience = if self.busy.is_some() { Duration::ZERO } else { self.patience };
        let mut busy = self.busy.take().unwrap_or_else(|| {
            let idle = self.idle.take();
            let mut watch =
                idle.unwrap_or_else(|| FolderWatch::new(self.touched.clone(), self.touch.clone()));
            tokio::task::spawn_blocking(move || {
                let is_news = watch.set(&folders);
                (watch, is_news)
            })
        });
        match tokio::time::timeout(patience, &mut busy).await {
            Ok(Ok((watch, is_news))) => {
                self.problem.clone_from(&watch.said);
                self.idle = Some(watch);
                is_news
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "watching folders broke off, and is begun again");
                false
            }
            Err(_) => {
                self.problem = Some("a file system does not answer".to_owned());
                self.busy = Some(busy);
                false
            }
        }
    }

    /// Why not all folders are watched: those are looked at each minute.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// What is watched. Dropping it ends that.
struct FolderWatch {
    folders: BTreeMap<PathBuf, Identity>,
    watcher: Option<notify::RecommendedWatcher>,
    touched: Touched,
    touch: mpsc::Sender<()>,
    /// What was last said of what can't be watched.
    said: Option<String>,
    /// When it was tried last.
    tried: Instant,
}

impl FolderWatch {
    fn new(touched: Touched, touch: mpsc::Sender<()>) -> Self {
        Self { folders: BTreeMap::new(), watcher: None, touched, touch, said: None, tried: Instant::now() }
    }

    /// See [`Watching::set`].
    fn set(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let identity = |folder: &Path| std::fs::metadata(folder).ok().map(|about| (about.dev(), about.ino()));
        let wanted: BTreeMap<PathBuf, Identity> =
            folders.iter().filter_map(|folder| Some((folder.clone(), identity(folder)?))).collect();
        let is_tried_again = self.said.is_some() && self.tried.elapsed() >= AGAIN;
        if wanted == self.folders && !is_tried_again {
            return false;
        }
        self.tried = Instant::now();
        self.folders = wanted;
        self.watcher = None;
        if self.folders.is_empty() {
            self.said = None;
            return false;
        }
        match self.start() {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => self.say(error.to_string()),
        }
        true
    }

    fn start(&mut self) -> notify::Result<notify::RecommendedWatcher> {
        let (touched, touch) = (self.touched.clone(), self.touch.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // that somebody reads a folder is nothing new, and we do so ourselves
            let Ok(event) = event.map_err(|_| ()) else { return };
            if event.kind.is_access() {
                return;
            }
            let mut all = touched.lock().expect("no holder panics");
            for path in event.paths {
                all.extend(path.parent().map(Path::to_owned));
                all.insert(path);
            }
            let _ = touch.try_send(()); // one that waits is enough
        })?;
        let mut failed = None;
        for folder in self.folders.keys() {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                failed = Some(format!("{}: {error}", folder.display()));
            }
        }
        match failed {
            Some(what) => self.say(what),
            None => self.said = None,
        }
        Ok(watcher)
    }

    fn say(&mut self, what: String) {
        if self.said.as_ref() != Some(&what) {
            tracing::warn!("a folder can't be watched and is looked at each minute: {what}");
            self.said = Some(what);
        }
    }
}

#[cfg(test)]
mod tests {
    //! On a real folder.
    use super::*;

    #[tokio::test]
    async fn a_folder_is_watched_until_others_are() {
        let folder = tempfile::tempdir().unwrap();
        let touched = Touched::default();
        let (touch, mut word) = mpsc::channel(1);
        let mut watching = Watching::new(touched.clone(), touch);
        let wanted: BTreeSet<PathBuf> = [folder.path().to_owned()].into();
        assert!(watching.set(wanted.clone()).await, "it was not watched before");
        assert!(!watching.set(wanted.clone()).await);
        assert_eq!(watching.problem(), None);
        std::fs::write(folder.path().join("a"), "a").unwrap();
        word.recv().await.unwrap();
        assert!(touched.lock().unwrap().contains(folder.path()));
        // one that is not there is not watched, and no problem here
        let is_news = watching.set([folder.path().join("none")].into()).await;
        assert_eq!((is_news, watching.problem()), (false, None));
    }

    #[tokio::test]
    async fn a_file_system_that_hangs_is_waited_for_once() {
        let (touch, _word) = mpsc::channel(1);
        let mut watching = Watching::new(Touched::default(), touch.clone());
        watching.patience = Duration::from_millis(1);
        let (go_on, hangs) = std::sync::mpsc::channel::<()>();
        watching.busy = Some(tokio::task::spawn_blocking(move || {
            let _ = hangs.recv();
            (FolderWatch::new(Touched::default(), touch), true)
        }));
        let folder = tempfile::tempdir().unwrap();
        let wanted: BTreeSet<PathBuf> = [folder.path().to_owned()].into();
        assert!(!watching.set(wanted.clone()).await);
        assert_eq!(watching.problem(), Some("a file system does not answer"));
        drop(go_on);
        let answered = async {
            while !watching.set(wanted.clone()).await {
                tokio::task::yield_now().await;
            }
        };
        answered.await;
        assert_eq!(watching.problem(), None);
    }
}
