//! Programs that run other programs or code: where it occurs in their arguments.
//!
//! How a program interprets its arguments is only known for a table of common ones. If a command line is
//! ambiguous, the interpretation that runs more counts.
use std::path::Path;

/// What an argument may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArgumentContent {
    /// Only what the configuration says.
    Text,
    /// A filled-in value that does not begin with `-`.
    Value,
    /// A filled-in value, which may be an option.
    Anything,
}

/// An argument, the first one being the program itself.
pub(super) type Argument<'a> = (&'a str, ArgumentContent);

/// How a program interprets its arguments.
enum Kind {
    /// Every argument is code: dot commands, assignments, editor commands, a shell command line.
    Code,
    /// It runs the text of an option, or a file.
    Interpreter(&'static Language),
    /// It runs a program, after this number of arguments of its own. These of its options take no value.
    Launcher(usize, &'static [&'static str]),
    /// It runs what follows one of these arguments.
    After(&'static [&'static str]),
}

/// An interpreter's options. Letters are short options: `-c`, `-lc`.
struct Language {
    names: &'static [&'static str],
    /// Options with code, which is run instead of a file.
    code: &'static str,
    /// The same in long form.
    long_code: &'static [&'static str],
    /// Options with another value.
    values: &'static str,
    /// The same in long form.
    long_values: &'static [&'static str],
    /// What follows one of these in its cluster is not an option: `-i.bak`, `-MData::Dumper`.
    rest: &'static str,
    /// Whether a value may be attached to its option: `-F:`.
    attaches: bool,
    /// Whether code ends the options.
    code_is_last: bool,
    /// Whether options are also recognized after plain arguments.
    permutes: bool,
}

const SHELL: Language = Language {
    names: &["sh", "bash", "dash", "zsh", "ksh", "mksh", "fish", "ash", "csh", "tcsh", "rbash", "yash"],
    code: "c",
    long_code: &["--command"],
    values: "oOCd",
    long_values: &["--rcfile", "--init-file", "--init-command"],
    rest: "",
    attaches: false,
    code_is_last: true,
    permutes: false,
};
const PYTHON: Language = Language {
    names: &["python", "pypy"],
    // A named module is run as well.
    code: "cm",
    long_code: &[],
    values: "WX",
    long_values: &["--check-hash-based-pycs"],
    rest: "",
    attaches: true,
    code_is_last: true,
    permutes: false,
};
const PERL: Language = Language {
    names: &["perl"],
    code: "eE",
    long_code: &[],
    values: "I",
    long_values: &[],
    rest: "iMmCxlDF0dV",
    attaches: true,
    code_is_last: false,
    permutes: false,
};
const RUBY: Language = Language {
    names: &["ruby", "jruby", "irb"],
    code: "e",
    long_code: &[],
    values: "rIECFW",
    long_values: &["--encoding", "--external-encoding", "--internal-encoding"],
    rest: "iKTxWl0",
    attaches: true,
    code_is_last: false,
    permutes: false,
};
const NODE: Language = Language {
    names: &["node", "nodejs"],
    code: "ep",
    long_code: &["--eval", "--print"],
    values: "rC",
    long_values: &[
        "--require",
        "--import",
        "--loader",
        "--experimental-loader",
        "--conditions",
        "--env-file",
        "--title",
        "--icu-data-dir",
        "--input-type",
    ],
    rest: "",
    attaches: false,
    code_is_last: false,
    permutes: false,
};
const PHP: Language = Language {
    names: &["php", "php-cgi"],
    code: "rBRE",
    long_code: &["--run", "--process-begin", "--process-code", "--process-end"],
    values: "cdfFzStT",
    long_values: &[
        "--php-ini",
        "--define",
        "--file",
        "--process-file",
        "--zend-extension",
        "--server",
        "--docroot",
    ],
    rest: "",
    attaches: true,
    code_is_last: false,
    permutes: false,
};
const AWK: Language = Language {
    names: &["awk", "gawk", "mawk", "nawk", "original-awk"],
    code: "ef",
    long_code: &["--source", "--file", "--exec"],
    values: "Fvil",
    long_values: &["--field-separator", "--assign", "--include", "--load"],
    rest: "",
    attaches: true,
    code_is_last: false,
    permutes: false,
};
const SED: Language = Language {
    names: &["sed", "gsed", "ssed"],
    code: "ef",
    long_code: &["--expression", "--file"],
    values: "l",
    long_values: &["--line-length"],
    rest: "i",
    attaches: true,
    code_is_last: false,
    permutes: true,
};
const LANGUAGES: &[&Language] = &[&SHELL, &PYTHON, &PERL, &RUBY, &NODE, &PHP, &AWK, &SED];

/// Programs to which every argument is code.
const CODE: &[&str] = &[
    "make",
    "gmake",
    "ninja",
    "cmake",
    "just",
    "rake",
    "ant",
    "mvn",
    "gradle",
    "sqlite",
    "sqlite3",
    "psql",
    "mysql",
    "mariadb",
    "ex",
    "vi",
    "vim",
    "nvim",
    "view",
    "ed",
    "red",
    "emacs",
    "emacsclient",
    "less",
    "gdb",
    "lldb",
    "m4",
    "dc",
    "gnuplot",
    "octave",
    "ftp",
    "lftp",
    "sftp",
    "watch",
    "parallel",
    "at",
    "batch",
    "eval",
    "tmux",
    "screen",
    "entr",
    "socat",
    "ncat",
    "crontab",
    "pwsh",
    "powershell",
    "osascript",
];

/// Launchers, with the number of their own arguments before the program, and options without a value.
const LAUNCHERS: &[(&str, usize, &[&str])] = &[
    ("env", 0, &["-i", "-0", "-v", "--ignore-environment", "--null", "--debug"]),
    ("sudo", 0, &["-n", "-E", "-H", "-S", "-b", "-k", "-i", "-s", "--non-interactive", "--login"]),
    ("doas", 0, &["-n", "-s"]),
    ("su", 0, &["-", "-l", "-m", "-p", "--login"]),
    ("runuser", 0, &["-", "-l", "-m", "-p", "--login"]),
    ("pkexec", 0, &[]),
    ("xargs", 0, &["-0", "-r", "-t", "-p", "-x", "--null", "--no-run-if-empty", "--verbose"]),
    ("nohup", 0, &[]),
    ("nice", 0, &[]),
    ("ionice", 0, &["-t"]),
    ("chrt", 1, &["-f", "-r", "-b", "-i", "-o"]),
    ("timeout", 1, &["--foreground", "--preserve-status", "-v", "--verbose", "-f", "-p"]),
    ("setsid", 0, &["-c", "-f", "-w", "--ctty", "--fork", "--wait"]),
    ("setpriv", 0, &["--clear-groups", "--init-groups", "--keep-groups", "--no-new-privs", "--reset-env"]),
    ("taskset", 1, &["-a", "-c", "--all-tasks", "--cpu-list"]),
    ("flock", 1, &["-n", "-x", "-e", "-s", "-o", "-F", "--nonblock", "--exclusive", "--shared", "--close"]),
    ("prlimit", 0, &[]),
    ("numactl", 0, &[]),
    ("busybox", 0, &[]),
    ("toybox", 0, &[]),
    ("stdbuf", 0, &[]),
    ("unbuffer", 0, &["-p"]),
    ("script", 0, &["-q", "-a", "-e", "-f"]),
    ("chroot", 1, &[]),
    ("nsenter", 0, &["-m", "-u", "-i", "-n", "-p", "-U", "-a"]),
    ("unshare", 0, &["-m", "-u", "-i", "-n", "-p", "-U", "-r", "-f"]),
    ("bwrap", 0, &["--unshare-all", "--unshare-net", "--die-with-parent", "--new-session"]),
    ("firejail", 0, &[]),
    ("fakeroot", 0, &[]),
    ("proot", 0, &[]),
    ("strace", 0, &["-f", "-ff", "-q", "-c", "-y"]),
    ("ltrace", 0, &["-f", "-c", "-S"]),
    ("perf", 1, &[]),
    ("valgrind", 0, &[]),
    ("catchsegv", 0, &[]),
    ("time", 0, &["-p", "-v", "--verbose"]),
    ("command", 0, &[]),
    ("exec", 0, &["-c", "-l"]),
    ("ssh", 1, &["-n", "-q", "-T", "-t", "-x", "-4", "-6", "-A", "-a", "-C", "-v"]),
    ("ssh-agent", 0, &[]),
    ("dbus-run-session", 0, &[]),
    ("systemd-run", 0, &["--user", "--system", "--scope", "--pipe", "--wait", "--collect", "-G", "-q"]),
    ("systemd-inhibit", 0, &[]),
    ("systemd-cat", 0, &[]),
    ("start-stop-daemon", 0, &[]),
    ("lua", 0, &[]),
    ("luajit", 0, &[]),
    ("tclsh", 0, &[]),
    ("wish", 0, &[]),
    ("expect", 0, &[]),
    ("julia", 0, &[]),
    ("Rscript", 0, &["--vanilla"]),
    ("R", 0, &[]),
    ("guile", 0, &[]),
    ("racket", 0, &[]),
    ("groovy", 0, &[]),
    ("scala", 0, &[]),
    ("elixir", 0, &[]),
    ("erl", 0, &[]),
    ("swipl", 0, &[]),
    ("deno", 1, &["-A"]),
    ("bun", 1, &[]),
    ("docker", 2, &["-i", "-t", "-it", "--rm"]),
    ("podman", 2, &["-i", "-t", "-it", "--rm"]),
    ("npx", 0, &["-y", "--yes", "--no-install"]),
    ("npm", 1, &[]),
    ("pnpm", 1, &[]),
    ("yarn", 1, &[]),
    ("bunx", 0, &[]),
    ("uvx", 0, &[]),
    ("uv", 1, &[]),
    ("pipx", 1, &[]),
    ("poetry", 1, &[]),
    ("cargo", 0, &[]),
    ("go", 1, &[]),
    ("java", 0, &["-jar", "-ea", "-server"]),
    ("git", 0, &["--no-pager", "--bare", "-P"]),
];

/// Programs that run what follows some of their arguments.
const AFTER: &[(&str, &[&str])] = &[
    ("find", &["-exec", "-execdir", "-ok", "-okdir"]),
    ("fd", &["-x", "-X", "--exec", "--exec-batch"]),
    (
        "tar",
        &[
            "-I",
            "-F",
            "--use-compress-program",
            "--checkpoint-action",
            "--to-command",
            "--info-script",
            "--rsh-command",
        ],
    ),
    ("rsync", &["-e", "--rsh", "--rsync-path"]),
    ("scp", &["-S", "-o", "-F"]),
    ("sort", &["--compress-program"]),
    ("rg", &["--pre", "--hostname-bin"]),
];

/// Returns the first argument that contains a filled-in value which would be run, as a program or part of
/// one. `known` is another name of the program, beside the one that it is called by.
pub(super) fn first_run_argument(words: &[Argument<'_>], known: Option<&str>) -> Option<usize> {
    let (program, holds) = words.first()?;
    if *holds != ArgumentContent::Text {
        return Some(0);
    }
    let names = [Some(*program), known.filter(|name| !is_many_programs(name))];
    names.into_iter().flatten().find_map(|name| judged(name, words))
}

/// Returns whether this is a multi-call program, which acts by the name that it is called by.
fn is_many_programs(name: &str) -> bool {
    matches!(stem(name), "busybox" | "toybox" | "coreutils" | "rustup" | "snap" | "pyenv" | "asdf" | "mise")
}

fn judged(name: &str, words: &[Argument<'_>]) -> Option<usize> {
    match kind(name)? {
        Kind::Code => first_filled(words),
        Kind::Interpreter(language) => interpreted(language, words),
        Kind::Launcher(own, flags) => launched(name, own, flags, words),
        Kind::After(options) => after(options, words),
    }
}

fn after(options: &[&str], words: &[Argument<'_>]) -> Option<usize> {
    let is_option = |text: &str| options.iter().any(|option| named(text, option));
    (1..words.len()).find_map(|at| match words[at] {
        (text, ArgumentContent::Text) if is_option(text) => {
            first_run_argument(&words[at + 1..], None).map(|inner| at + 1 + inner)
        }
        (_, ArgumentContent::Text) => None,
        // A filled-in value could be any of its options.
        (_, ArgumentContent::Anything) => (!words[1..at].iter().any(|word| word.0 == "--")).then_some(at),
        (text, ArgumentContent::Value) => is_option(text).then_some(at),
    })
}

/// Matches `--rsh` and `--rsh=…`.
fn named(text: &str, option: &str) -> bool {
    text.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

fn first_filled(words: &[Argument<'_>]) -> Option<usize> {
    words.iter().position(|(_, holds)| *holds != ArgumentContent::Text)
}

/// Strips folders and a version: `python3.12` is python.
fn stem(name: &str) -> &str {
    let name = name.rsplit('/').next().unwrap_or(name);
    let name = name.strip_suffix(".exe").unwrap_or(name);
    match name {
        "sqlite3" => name,
        _ => name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-'),
    }
}

fn kind(name: &str) -> Option<Kind> {
    let stem = stem(name);
    if let Some(language) = LANGUAGES.iter().find(|language| language.names.contains(&stem)) {
        return Some(Kind::Interpreter(language));
    }
    if CODE.contains(&stem) {
        return Some(Kind::Code);
    }
    if let Some((_, own, flags)) = LAUNCHERS.iter().find(|(launcher, ..)| *launcher == stem) {
        return Some(Kind::Launcher(*own, flags));
    }
    AFTER.iter().find(|(program, _)| *program == stem).map(|(_, options)| Kind::After(options))
}

/// Returns whether the program runs files or code named by its arguments.
pub(super) fn runs_others(name: &str) -> bool {
    matches!(kind(name), Some(Kind::Interpreter(_) | Kind::Launcher(..) | Kind::Code))
}

fn interpreted(language: &Language, words: &[Argument<'_>]) -> Option<usize> {
    let filled = |at: usize| words.get(at).is_some_and(|(_, holds)| *holds != ArgumentContent::Text);
    let (mut has_code, mut options_end) = (false, false);
    let mut at = 1;
    while let Some((text, holds)) = words.get(at) {
        let mut values = 0;
        if filled(at) {
            let may_be_option = *holds == ArgumentContent::Anything && !options_end;
            if !has_code || may_be_option || text.starts_with('-') {
                return Some(at);
            }
        } else if options_end || !is_option(text) {
            // The file or code that it runs: further arguments are passed to that.
            if !has_code && !language.permutes {
                return None;
            }
            has_code = true;
        } else if *text == "--" {
            options_end = true;
        } else {
            let option = option(language, text);
            values = option.values;
            has_code |= option.has_code;
            if let Some(value) = (at + 1..=at + values).find(|at| filled(*at)) {
                return Some(value);
            }
            if option.has_code && language.code_is_last {
                return None;
            }
        }
        at += 1 + values;
    }
    None
}

/// How an option is interpreted.
struct OptionRead {
    has_code: bool,
    /// The number of following arguments that are its values.
    values: usize,
}

fn is_option(text: &str) -> bool {
    text.len() > 1 && text.starts_with(['-', '+'])
}

fn option(language: &Language, text: &str) -> OptionRead {
    let is_long = text.starts_with("--");
    let among = |all: &[&str]| all.iter().any(|long| named(text, long));
    if is_long {
        let has_code = among(language.long_code);
        let takes = (has_code || among(language.long_values)) && !text.contains('=');
        return OptionRead { has_code, values: usize::from(takes) };
    }
    let (mut has_code, mut values) = (false, 0);
    for (at, letter) in text.char_indices().skip(1) {
        let is_code = language.code.contains(letter);
        if !is_code && language.rest.contains(letter) {
            break;
        }
        if !is_code && !language.values.contains(letter) {
            continue;
        }
        has_code |= is_code;
        let is_last = at + letter.len_utf8() == text.len();
        if language.attaches && !is_last {
            break;
        }
        values += 1;
    }
    OptionRead { has_code, values }
}

fn launched(name: &str, own: usize, flags: &[&str], words: &[Argument<'_>]) -> Option<usize> {
    // A known program among the arguments is judged together with the arguments that follow it.
    for at in 1..words.len() {
        let (text, holds) = words[at];
        if holds == ArgumentContent::Text
            && !is_option(text)
            && kind(text).is_some()
            && let Some(inner) = first_run_argument(&words[at..], None)
        {
            return Some(at + inner);
        }
    }
    let is_remote = stem(name) == "ssh";
    // Of a program with subcommands, only some run other programs.
    const RUN: &[&str] =
        &["run", "exec", "x", "dlx", "create", "tool", "compose", "eval", "stat", "record", "trace"];
    const OF_MANY: &[&str] =
        &["docker", "podman", "npm", "pnpm", "yarn", "uv", "pipx", "poetry", "go", "perf", "deno", "bun"];
    let runs = || words.iter().any(|(text, _)| RUN.contains(text));
    let own = if OF_MANY.contains(&stem(name)) && !runs() { 0 } else { own };
    let (mut plain, mut needed) = (0, own + 1);
    for (at, (text, holds)) in words.iter().enumerate().skip(1) {
        if *holds != ArgumentContent::Text {
            // The rest of an ssh command line is passed to a shell.
            if is_remote || plain < needed {
                return Some(at);
            }
        } else if *text == "--" || flags.contains(text) {
        } else if is_option(text) {
            // The next argument may be its value.
            needed += usize::from(!text.contains('='));
        } else if !is_assignment(text) {
            plain += 1;
        }
    }
    None
}

/// Returns whether this is `NAME=value`, as env(1) accepts it.
fn is_assignment(text: &str) -> bool {
    text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// A word among the arguments of a program that may name a file.
pub(super) struct Named<'a> {
    pub(super) word: &'a str,
    /// Whether it is run, judging by its position or its name. Otherwise it is if it is executable.
    pub(super) is_script: bool,
}

/// Returns words that may name files that are run: those after an interpreter or a launcher, those named like
/// scripts, and paths.
pub(super) fn scripts<'a>(program: &str, args: &'a [String]) -> Vec<Named<'a>> {
    const ENDINGS: &[&str] = &[
        "sh", "bash", "zsh", "fish", "py", "pl", "rb", "js", "mjs", "cjs", "ts", "php", "lua", "awk", "sed",
        "tcl", "jl", "exs", "ps1", "mk", "jar",
    ];
    let mut found = Vec::new();
    let mut runs = runs_others(program);
    for arg in args {
        for word in arg.split(|c: char| c.is_whitespace() || ";|&(){}<>\"'`$".contains(c)) {
            if word.is_empty() || is_option(word) {
                continue;
            }
            let ending = Path::new(word).extension().and_then(|ending| ending.to_str());
            let named_so =
                ending.is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()));
            if runs || named_so || word.contains('/') {
                found.push(Named { word, is_script: runs || named_so });
            }
            runs = runs_others(word) || matches!(word, "." | "source" | "exec");
        }
    }
    found
}

#[cfg(test)]
mod tests;
