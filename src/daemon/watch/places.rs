//! Where a file can change: in its folder, and in each folder that has a link on the way to it.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// More links than that are a circle, as for path_resolution(7).
const MOST_LINKS: usize = 40;

/// A name in a folder.
pub(super) type Place = (PathBuf, OsString);

/// The links on the way to a file, and the file itself, each as a name in a folder that is no link. What is not
/// there is taken for no link.
pub(super) fn places(path: &Path) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    let mut at = PathBuf::new();
    let mut ahead: Vec<PathBuf> = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        match part.components().next() {
            Some(Component::Normal(name)) => match std::fs::read_link(at.join(name)) {
                Ok(target) if links < MOST_LINKS => {
                    links += 1;
                    places.insert((at.clone(), name.to_owned()));
                    ahead.extend(parts(&target));
                }
                _ => at.push(name),
            },
            Some(Component::ParentDir) => {
                at.pop();
            }
            Some(Component::RootDir | Component::Prefix(_)) => at = part,
            Some(Component::CurDir) | None => {}
        }
    }
    if let (Some(folder), Some(name)) = (at.parent(), at.file_name()) {
        places.insert((folder.to_owned(), name.to_owned()));
    }
    places
}

/// The parts of a path, the first one last.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect()
}

#[cfg(test)]
mod tests {
    //! Tests with real links.
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn each_link_on_the_way_is_a_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let found = |path: &Path| {
            let all = places(path).into_iter().map(|(folder, name)| folder.join(name));
            all.map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        fs::create_dir_all(root.join("conf")).unwrap();
        fs::create_dir_all(root.join("v1")).unwrap();
        fs::write(root.join("v1/a.toml"), "").unwrap();
        assert_eq!(found(&root.join("v1/a.toml")), ["v1/a.toml"]);
        assert_eq!(found(&root.join("v1/missing")), ["v1/missing"]);
        // as a Kubernetes volume has it: the file by way of a folder that is replaced as a whole
        symlink("../v1", root.join("conf/..data")).unwrap();
        symlink("..data/a.toml", root.join("conf/a.toml")).unwrap();
        assert_eq!(found(&root.join("conf/a.toml")), ["conf/..data", "conf/a.toml", "v1/a.toml"]);
        symlink(root.join("nowhere/else"), root.join("dangling")).unwrap();
        assert_eq!(found(&root.join("dangling")), ["dangling", "nowhere/else"]);
        symlink("circle", root.join("circle")).unwrap();
        assert_eq!(found(&root.join("circle")), ["circle"]);
    }
}
