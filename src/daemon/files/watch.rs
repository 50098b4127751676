//! Watches folders for changes. Notifications may be missing, as on a network file system, so
//! folders are also scanned periodically. Each file system call is made on a thread that may block.
use notify::{RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Folders in which something has changed.
pub(super) type Touched = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Device and inode of a folder: a new folder of the same name has to be watched anew.
type Identity = (u64, u64);

/// Timeout of a file system call.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before a failed watch is retried: a limit may have been lifted.
const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Sets watches on folders.
pub(super) struct Watching {
    touched: Touched,
    touch: mpsc::Sender<()>,
    idle: Option<FolderWatch>,
    /// The call in flight. It may hang with its file system.
    busy: Option<JoinHandle<(FolderWatch, bool)>>,
    /// Why not all folders are watched.
    problem: Option<String>,
    timeout: Duration,
}

impl Watching {
    /// Starts without watches. `touch` is notified when folders have been added to `touched`.
    pub(super) fn new(touched: Touched, touch: mpsc::Sender<()>) -> Self {
        Self { touched, touch, idle: None, busy: None, problem: None, timeout: CALL_TIMEOUT }
    }

    /// Watches exactly these folders. Returns true if a watch is new, so that earlier changes may
    /// have been missed. A hanging file system is waited for once; until it answers, no other
    /// watches are set.
    pub(super) async fn set(&mut self, folders: BTreeSet<PathBuf>) -> bool {
        let timeout = if self.busy.is_some() { Duration::ZERO } else { self.timeout };
        let mut busy = self.busy.take().unwrap_or_else(|| {
            let idle = self.idle.take();
            let mut watch =
                idle.unwrap_or_else(|| FolderWatch::new(self.touched.clone(), self.touch.clone()));
            tokio::task::spawn_blocking(move || {
                let is_news = watch.set(&folders);
                (watch, is_news)
            })
        });
        match tokio::time::timeout(timeout, &mut busy).await {
            Ok(Ok((watch, is_news))) => {
                self.problem.clone_from(&watch.reported);
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

    /// Returns why not all folders are watched; they are scanned each minute instead.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// The watches; dropping it removes them.
struct FolderWatch {
    folders: BTreeMap<PathBuf, Identity>,
    watcher: Option<notify::RecommendedWatcher>,
    touched: Touched,
    touch: mpsc::Sender<()>,
    /// The last reported problem.
    reported: Option<String>,
    /// Time of the last attempt.
    last_attempt: Instant,
}

impl FolderWatch {
    fn new(touched: Touched, touch: mpsc::Sender<()>) -> Self {
        Self {
            folders: BTreeMap::new(),
            watcher: None,
            touched,
            touch,
            reported: None,
            last_attempt: Instant::now(),
        }
    }

    /// Implements [`Watching::set`].
    fn set(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let identity = |folder: &Path| std::fs::metadata(folder).ok().map(|about| (about.dev(), about.ino()));
        let wanted: BTreeMap<PathBuf, Identity> =
            folders.iter().filter_map(|folder| Some((folder.clone(), identity(folder)?))).collect();
        let is_tried_again = self.reported.is_some() && self.last_attempt.elapsed() >= RETRY_INTERVAL;
        if wanted == self.folders && !is_tried_again {
            return false;
        }
        self.last_attempt = Instant::now();
        self.folders = wanted;
        self.watcher = None;
        if self.folders.is_empty() {
            self.reported = None;
            return false;
        }
        match self.start() {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) => self.report(error.to_string()),
        }
        true
    }

    fn start(&mut self) -> notify::Result<notify::RecommendedWatcher> {
        let (touched, touch) = (self.touched.clone(), self.touch.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // reads are not changes, and we read folders ourselves
            let Ok(event) = event.map_err(|_| ()) else { return };
            if event.kind.is_access() {
                return;
            }
            let mut all = touched.lock().expect("no holder panics");
            for path in event.paths {
                all.extend(path.parent().map(Path::to_owned));
                all.insert(path);
            }
            let _ = touch.try_send(()); // one pending notification is enough
        })?;
        let mut failed = None;
        for folder in self.folders.keys() {
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                failed = Some(format!("{}: {error}", folder.display()));
            }
        }
        match failed {
            Some(what) => self.report(what),
            None => self.reported = None,
        }
        Ok(watcher)
    }

    fn report(&mut self, what: String) {
        if self.reported.as_ref() != Some(&what) {
            tracing::warn!("a folder can't be watched and is looked at each minute: {what}");
            self.reported = Some(what);
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
        watching.timeout = Duration::from_millis(1);
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
