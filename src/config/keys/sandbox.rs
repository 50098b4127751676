//! Keys of a `sandbox` table.
use super::kind::{Key, Kind, key};

/// Keys of a `sandbox` table.
pub(in crate::config) const SANDBOX: &[Key] = &[
    key(
        "read",
        Kind::Texts,
        "what it may read, in addition to the system's programs, libraries, certificates and time zones, and the program's \
         own file; nothing that another agent writes",
    ),
    key(
        "write",
        Kind::Texts,
        "what it may read and write, in addition to a private folder for temporary files",
    ),
    key("exec", Kind::Texts, "what it may execute; default: the system's programs"),
    key(
        "net",
        Kind::Texts,
        "where it may connect to, through a proxy that its environment names: [\"api.github.com:443\"]; without a port: 80 \
         and 443. Private addresses are written out, or follow a name: \"nas.lan:8443=10.1.2.0/24\". Default: nowhere",
    ),
    key("unix", Kind::Texts, "sockets that it may connect to, by path; needs Linux with Landlock 9 or later"),
    key("limits", Kind::Table(SANDBOX_LIMITS), "how much it may take"),
];

pub(in crate::config) const SANDBOX_LIMITS: &[Key] = &[
    key(
        "processes",
        Kind::Whole,
        "processes and threads at a time, of all that it starts; needs a control group delegated to the daemon",
    ),
    key("memory", Kind::Size, "of all its processes; needs a control group delegated to the daemon"),
    key("open_files", Kind::Whole, "of one process"),
    key("file_size", Kind::Size, "of a file that it writes"),
    key("cpu", Kind::Duration, "processor time of one process"),
];
