//! Hears from the system that something happens in folders. It may miss something, as on a network file system, so folders
//! are looked at now and then as well.
use notify::{RecursiveMode, Watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

/// Folders that something has happened in.
pub(super) type Touched = Arc<Mutex<BTreeSet<PathBuf>>>;

/// Which folder it is: a new one of the same name has to be watched anew.
type Identity = (u64, u64);

/// What is watched. Dropping it ends that.
pub(super) struct FolderWatch {
    folders: BTreeMap<PathBuf, Identity>,
    watcher: Option<notify::RecommendedWatcher>,
    touched: Touched,
    touch: mpsc::Sender<()>,
    /// What was last said of what can't be watched.
    said: Option<String>,
}

impl FolderWatch {
    /// Nothing is watched yet. A word goes to `touch` when there are folders in `touched`.
    pub(super) fn new(touched: Touched, touch: mpsc::Sender<()>) -> Self {
        Self { folders: BTreeMap::new(), watcher: None, touched, touch, said: None }
    }

    /// Watches these folders and no others. True: something is watched that was not before, where something may have happened
    /// meanwhile.
    pub(super) fn set(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let identity = |folder: &Path| std::fs::metadata(folder).ok().map(|about| (about.dev(), about.ino()));
        let wanted: BTreeMap<PathBuf, Identity> =
            folders.iter().filter_map(|folder| Some((folder.clone(), identity(folder)?))).collect();
        if wanted == self.folders {
            return false;
        }
        self.folders = wanted;
        self.watcher = None;
        if self.folders.is_empty() {
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
