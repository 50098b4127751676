//! The file of a configured address `sqlite:…`. For the tool `sql`, and for archives.
use crate::domain::ToolError;
use std::path::{Path, PathBuf};

/// Returns the file of a database. That of the daemon itself is refused.
pub fn sqlite_file(path: &str) -> Result<PathBuf, ToolError> {
    let path = Path::new(match path.strip_prefix("//") {
        Some(rest) => rest,
        None => path,
    });
    let failed = |why: &str| Err(ToolError::Failed(format!("{}: {why}", path.display())));
    if !path.is_absolute() {
        return failed("the path of a database that stands in a secret must be absolute");
    }
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if real.file_name().is_some_and(|name| name.eq_ignore_ascii_case("bgagent.db")) {
        return failed("this is the daemon's own database; `bgagent runs` and `bgagent events` read it");
    }
    match std::fs::metadata(&real) {
        Ok(about) if about.is_file() => Ok(real),
        Ok(_) => failed("this is not a file, so it is not a database"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            failed("there is no such database; it is never created, so check `url`")
        }
        Err(error) => failed(&format!("the database can't be opened: {error}")),
    }
}
