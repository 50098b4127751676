//! The service file: pure text, so that it can be reviewed before it is trusted. Installing it is left to
//! `commands/service`.
use crate::config::Paths;
use std::path::{Path, PathBuf};

/// Name of the unit.
pub(super) const UNIT: &str = "bgagent.service";
/// Label of the agent on macOS.
pub(super) const LABEL: &str = "io.bgagent.daemon";

/// The values that differ between installations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installation {
    /// Absolute path of the program.
    pub(super) program: PathBuf,
    /// `PATH` of the shell that installs it, by which commands of agents are found.
    pub(super) path: String,
    /// `--config`, if it was given; absolute.
    pub(super) config: Option<PathBuf>,
    /// `--state-dir`, if it was given; absolute.
    pub(super) state_dir: Option<PathBuf>,
    /// `--trust` was given.
    pub(super) trust: bool,
}

impl Installation {
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![self.program.display().to_string(), "daemon".to_owned()];
        for (flag, value) in [("--config", &self.config), ("--state-dir", &self.state_dir)] {
            if let Some(value) = value {
                arguments.extend([flag.to_owned(), value.display().to_string()]);
            }
        }
        if self.trust {
            arguments.push("--trust".to_owned());
        }
        arguments
    }
}

/// The systemd user unit (systemd.service(5), systemd.exec(5)).
///
/// `PrivateUsers=yes` comes before all other directives of its kind: without it they silently have no effect in a user
/// manager. `MemoryDenyWriteExecute` is absent since it kills node, `ProtectControlGroups` since runs get groups of
/// their own. Namespaces of users and networks are for sandboxes with `net`, and so is `capset`: such a namespace has
/// capabilities that are to be dropped.
///
/// It is restarted without limit: `StartLimitIntervalSec=0` disables rate limiting, and `RestartSteps=` with
/// `RestartMaxDelaySec=` make the delays grow (since systemd 254; older releases ignore both). With `KillMode=mixed` a
/// stop signals only the daemon, which ends its runs within their grace period; processes left by a killed daemon are
/// killed at once.
pub(super) fn systemd_unit(installation: &Installation) -> String {
    let start = installation.arguments().iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    let mut writable = "ReadWritePaths=%h\n".to_owned();
    if let Some(dir) = &installation.state_dir {
        // `-`: a missing folder is not an error
        writable.push_str(&format!("ReadWritePaths={}\n", path_quoted(&format!("-{}", dir.display()))));
    }
    let delegated = delegated("%n");
    let path = quoted(&format!("PATH={}", installation.path)).replace("$$", "$");
    format!(
        "\
[Unit]
Description=bgagent: runs autonomous agents on a schedule
Documentation=man:bgagent(1)
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={start}
Environment={path}
Restart=on-failure
RestartSec=1
RestartSteps=10
RestartMaxDelaySec=300
RestartPreventExitStatus=65 73 75 77 78
WatchdogSec=20
TimeoutStopSec=45
KillMode=mixed
Delegate=yes
{delegated}
RuntimeDirectory=bgagent
RuntimeDirectoryMode=0700
UMask=0077
LimitCORE=0
LimitNOFILE=8192
OOMScoreAdjust=100
KeyringMode=private
NoNewPrivileges=yes
PrivateUsers=yes
ProtectSystem=strict
{writable}PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectClock=yes
ProtectHostname=yes
CapabilityBoundingSet=
RestrictNamespaces=user net mnt
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallFilter=~@privileged
SystemCallFilter=capset mount open_tree move_mount

[Install]
WantedBy=default.target
"
    )
}

/// Returns the unit of distribution packages: that of an installation, with paths that every machine has.
pub(super) fn packaged_unit() -> String {
    systemd_unit(&Installation {
        program: "/usr/bin/bgagent".into(),
        path: "/usr/local/bin:/usr/bin:/bin".into(),
        config: None,
        state_dir: None,
        trust: false,
    })
}

/// Tells the daemon that the control group of its unit is delegated to it: since version 251, systemd marks such groups
/// only in a way that a user service can read.
pub(super) fn delegated(unit: &str) -> String {
    format!("Environment={}={unit}", crate::doctor::DELEGATED)
}

/// Returns the directives of the unit that confine the daemon, as properties for systemd-run(1), which does not expand
/// specifiers.
pub(super) fn confinement() -> Vec<String> {
    const EXCLUDED: [&str; 10] = [
        "Type=",
        "NotifyAccess=",
        "ExecStart=",
        "Environment=",
        "Restart",
        "WatchdogSec=",
        "TimeoutStopSec=",
        "KillMode=",
        "RuntimeDirectory",
        "OOMScoreAdjust=",
    ];
    let installation = Installation {
        program: "/bgagent".into(),
        path: String::new(),
        config: None,
        state_dir: None,
        trust: false,
    };
    let home = std::env::home_dir().map_or_else(|| "/".to_owned(), |home| home.display().to_string());
    let unit = systemd_unit(&installation);
    let service = unit.lines().skip_while(|line| *line != "[Service]").skip(1);
    service
        .take_while(|line| !line.is_empty())
        .filter(|line| !EXCLUDED.iter().any(|not| line.starts_with(not)))
        .map(|line| line.replace("%h", &home))
        .collect()
}

/// The launchd agent (launchd.plist(5)).
pub(super) fn launchd_plist(installation: &Installation) -> String {
    // replaces systemd's journal
    let log = directories::BaseDirs::new().map_or_else(String::new, |dirs| {
        let file = dirs.home_dir().join("Library/Logs/bgagent.log");
        format!("  <key>StandardErrorPath</key>\n  <string>{}</string>\n", xml(&file.display().to_string()))
    });
    let arguments: String =
        installation.arguments().iter().map(|word| format!("    <string>{}</string>\n", xml(word))).collect();
    format!(
        "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">
<plist version=\"1.0\">
<dict>
  <key>Label</key>
  <string>{LABEL}</string>
  <key>ProgramArguments</key>
  <array>
{arguments}  </array>
  <key>EnvironmentVariables</key>
  <dict>
    <key>PATH</key>
    <string>{}</string>
  </dict>
{log}  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <dict>
    <key>SuccessfulExit</key>
    <false/>
  </dict>
  <key>Umask</key>
  <integer>63</integer>
  <key>ExitTimeOut</key>
  <integer>45</integer>
</dict>
</plist>
",
        xml(&installation.path)
    )
}

/// Returns the path of the service file.
pub(super) fn unit_path() -> Option<PathBuf> {
    let dirs = directories::BaseDirs::new()?;
    Some(if cfg!(target_os = "macos") {
        dirs.home_dir().join("Library/LaunchAgents").join(format!("{LABEL}.plist"))
    } else {
        dirs.config_dir().join("systemd/user").join(UNIT)
    })
}

/// Folders of units for all users, in order of precedence (systemd.unit(5)).
const SYSTEM_UNIT_FOLDERS: [&str; 3] =
    ["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];

/// Returns the service file of a package, if one is installed.
pub(super) fn packaged() -> Option<PathBuf> {
    if cfg!(target_os = "macos") { None } else { first_in(SYSTEM_UNIT_FOLDERS.iter().map(Path::new)) }
}

fn first_in<'a>(mut folders: impl Iterator<Item = &'a Path>) -> Option<PathBuf> {
    folders.find_map(|folder| Some(folder.join(UNIT)).filter(|path| path.is_file()))
}

/// Returns what to do if no daemon answers.
pub(super) fn how_to_start(paths: Option<&Paths>) -> String {
    let installed = unit_path().is_some_and(|path| path.exists()) || packaged().is_some();
    match paths {
        Some(paths) if !paths.config.exists() => {
            format!("`bgagent init` writes {}, `bgagent daemon` starts it", paths.config.display())
        }
        _ if installed && cfg!(target_os = "macos") => {
            format!("launchctl kickstart gui/$UID/{LABEL}     its log: ~/Library/Logs/bgagent.log")
        }
        _ if installed => {
            "systemctl --user start bgagent     its log: journalctl --user -u bgagent -n 50".into()
        }
        _ => "`bgagent daemon` starts it in the foreground, `bgagent service install` for good".into(),
    }
}

/// Returns `path` as an absolute path, without resolving symbolic links.
pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Quotes a word of a command line in a unit (systemd.service(5), "Command lines"); specifiers and variables are taken
/// literally.
fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' | '$' => text.extend([c, c]),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// Quotes a path of a list in a unit, if necessary.
fn path_quoted(path: &str) -> String {
    if path.chars().all(|c| c.is_alphanumeric() || "/._-+~@:".contains(c)) {
        path.to_owned()
    } else {
        quoted(path).replace("$$", "$")
    }
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Installation {
        Installation {
            program: "/home/u/.local/bin/bgagent".into(),
            path: "/home/u/.local/bin:/usr/bin".into(),
            config: None,
            state_dir: None,
            trust: false,
        }
    }

    fn line<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
        unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
    }

    #[test]
    fn the_unit_says_what_is_promised() {
        let unit = systemd_unit(&plain());
        assert_eq!(line(&unit, "ExecStart"), [r#""/home/u/.local/bin/bgagent" "daemon""#]);
        assert_eq!(
            line(&unit, "Environment"),
            [r#""PATH=/home/u/.local/bin:/usr/bin""#, "BGAGENT_DELEGATED=%n"]
        );
        assert_eq!(line(&unit, "Delegate"), ["yes"]);
        assert!(confinement().contains(&"Delegate=yes".to_owned()));
        assert_eq!(line(&unit, "Type"), ["notify"]);
        assert_eq!(line(&unit, "WatchdogSec"), ["20"]);
        assert_eq!(line(&unit, "RestartPreventExitStatus"), ["65 73 75 77 78"]);
        assert_eq!(line(&unit, "KillMode"), ["mixed"]);
        assert_eq!(line(&unit, "StartLimitIntervalSec"), ["0"], "it is never given up");
        assert_eq!(
            (line(&unit, "RestartSteps"), line(&unit, "RestartMaxDelaySec")),
            (vec!["10"], vec!["300"])
        );
        assert_eq!(line(&unit, "PrivateUsers"), ["yes"]);
        assert_eq!(line(&unit, "ReadWritePaths"), ["%h"]);
        assert_eq!(line(&unit, "WantedBy"), ["default.target"]);
        for void in ["MemoryDenyWriteExecute", "ProtectControlGroups", "IPAddressDeny"] {
            assert!(line(&unit, void).is_empty(), "{void}");
        }
        assert!(unit.lines().all(|line| !line.contains(" #")), "units have no comments behind values");
    }

    #[test]
    fn the_unit_of_a_package_is_that_of_an_installation() {
        let of = |unit: &str| -> Vec<String> {
            let words = ["ExecStart=", "Environment=\"PATH="];
            unit.lines()
                .filter(|line| !words.iter().any(|word| line.starts_with(word)))
                .map(Into::into)
                .collect()
        };
        assert_eq!(of(&packaged_unit()), of(&systemd_unit(&plain())));
        assert_eq!(line(&packaged_unit(), "ExecStart"), [r#""/usr/bin/bgagent" "daemon""#]);
    }

    #[test]
    fn a_unit_of_a_package_is_found_in_the_order_of_systemd() {
        let (first, second) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let found = || first_in([first.path(), second.path()].into_iter());
        assert_eq!(found(), None);
        std::fs::write(second.path().join(UNIT), "").expect("a file");
        assert_eq!(found(), Some(second.path().join(UNIT)));
        std::fs::write(first.path().join(UNIT), "").expect("a file");
        assert_eq!(found(), Some(first.path().join(UNIT)));
    }

    #[test]
    fn odd_paths_are_taken_literally() {
        let installation = Installation {
            program: "/opt/50% off/bg\"agent".into(),
            path: "/a b:/$HOME/x".into(),
            config: Some("/c d/agents.toml".into()),
            state_dir: Some("/var/lib/my bg".into()),
            trust: true,
        };
        let unit = systemd_unit(&installation);
        assert_eq!(
            line(&unit, "ExecStart"),
            [
                r#""/opt/50%% off/bg\"agent" "daemon" "--config" "/c d/agents.toml" "--state-dir" "/var/lib/my bg" "--trust""#
            ]
        );
        assert_eq!(line(&unit, "Environment")[0], r#""PATH=/a b:/$HOME/x""#);
        assert_eq!(line(&unit, "ReadWritePaths"), ["%h", r#""-/var/lib/my bg""#]);
    }

    #[test]
    fn the_plist_is_escaped() {
        let installation =
            Installation { path: "/a&b:/<c>".into(), config: Some("/x/agents.toml".into()), ..plain() };
        let plist = launchd_plist(&installation);
        assert!(plist.contains("<string>/a&amp;b:/&lt;c&gt;</string>"));
        assert!(plist.contains("/Library/Logs/bgagent.log</string>\n  <key>RunAtLoad</key>"));
        assert!(plist.contains("    <string>--config</string>\n    <string>/x/agents.toml</string>\n"));
    }
}
