//! Configuration words for tools: their kinds, and values of their settings.
use crate::domain::words::words;

words! {
    /// What a call may do to the world (section "Words" of the contract).
    Effect {
        /// Only looks.
        Read = "read",
        /// May be repeated without harm.
        Idempotent = "idempotent",
        /// Changes something.
        Effect = "effect",
    }
}

words! {
    /// The built-in tools.
    ToolKind {
        /// Measures this machine.
        SystemMetrics = "system_metrics",
        /// Checks against thresholds.
        Probe = "probe",
        /// HTTP requests.
        Http = "http",
        /// RSS, Atom and JSON feeds.
        Feed = "feed",
        /// Statements for SQLite and PostgreSQL.
        Sql = "sql",
        /// Moves old rows to cheaper storage.
        ArchiveRows = "archive_rows",
        /// Files under allowed folders.
        Files = "files",
        /// Objects in a bucket.
        S3 = "s3",
        /// Commands of an allow-list.
        Shell = "shell",
        /// Keeps a note.
        Remember = "remember",
        /// Reads notes.
        Recall = "recall",
        /// Opens and resolves incidents.
        Report = "report",
    }
}

words! {
    /// What the statements, files or objects of an instance may do.
    ToolMode {
        /// They are only looked at.
        ReadOnly = "read_only",
        /// They are written as well.
        ReadWrite = "read_write",
    }
}

impl ToolMode {
    /// Returns whether anything may be changed.
    pub fn writes(self) -> bool {
        self == Self::ReadWrite
    }
}

words! {
    /// Methods of HTTP requests (RFC 9110, 9.3; RFC 5789).
    HttpMethod {
        /// Only looks.
        Get = "GET",
        /// Only looks, at the headers.
        Head = "HEAD",
        /// Changes something.
        Post = "POST",
        /// Changes something; the same again changes nothing more.
        Put = "PUT",
        /// Changes something.
        Patch = "PATCH",
        /// Removes something.
        Delete = "DELETE",
        /// Asks what may be asked.
        Options = "OPTIONS",
    }
}

words! {
    /// What a number in the column of an age counts since 1970.
    TimeUnit {
        /// Seconds.
        Seconds = "seconds",
        /// Thousandths.
        Milliseconds = "milliseconds",
        /// Millionths.
        Microseconds = "microseconds",
    }
}

words! {
    /// What a check of a probe looks at.
    ProbeType {
        /// A file system.
        Disk = "disk",
        /// Memory.
        Memory = "memory",
        /// Load.
        Load = "load",
        /// An HTTP address.
        Http = "http",
        /// A TCP port.
        Tcp = "tcp",
        /// A process.
        Process = "process",
        /// A systemd unit.
        Systemd = "systemd",
        /// A command.
        Command = "command",
    }
}

words! {
    /// What of a file system is measured.
    DiskMetric {
        /// Its bytes.
        Used = "used",
        /// Its inodes.
        Inodes = "inodes",
    }
}

impl TimeUnit {
    /// Returns the number of units in a second.
    pub fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
        }
    }
}
