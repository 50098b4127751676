//! What is run, and what is an argument of it.
use super::*;

/// `{…}` is filled in by a caller, `<…>` by an event.
fn judge(line: &str) -> Option<usize> {
    let words: Vec<Argument<'_>> = line
        .split(' ')
        .map(|word| match word {
            word if word.contains('{') => (word, ArgumentContent::Value),
            word if word.contains('<') => (word, ArgumentContent::Anything),
            word => (word, ArgumentContent::Text),
        })
        .collect();
    first_run_argument(&words, None)
}

#[test]
fn code_is_found_however_options_are_spelled() {
    for line in [
        "{x}",
        "sh {x}",
        "sh -c {x}",
        "/bin/bash -lc {x}",
        "bash -ec {x}",
        "bash -o pipefail -c {x}",
        "bash --norc -xec {x}",
        "fish --command={x}",
        "fish --command {x}",
        "dash -- {x}",
        "python3 -Ic {x}",
        "python3.12 -c {x}",
        "python3 -m {x}",
        "python3 -X dev -c {x}",
        "perl -we {x}",
        "perl -ne print -e {x}",
        "node --eval {x}",
        "node --eval={x}",
        "node -p {x}",
        "ruby -r {x}",
        "php -r {x}",
        "awk {x}",
        "awk -F : {x} file",
        "awk -f {x}",
        "sed {x} file",
        "sed -n {x} file",
        "sed -n -e p -e {x} file",
        "sed --expression={x} file",
        "sed p <x>",
        "make {x}",
        "make -C dir {x}",
        "sqlite3 -readonly a.db {x}",
        "psql -At -c {x}",
        "ex {x}",
        "vim -c {x}",
        "env {x}",
        "env -i A=b {x}",
        "env sh -c {x}",
        "env A={x} true",
        "env -S{x}",
        "timeout 5 {x}",
        "timeout -k 1 5 {x}",
        "timeout 5 sh -c {x}",
        "timeout 5 bash -lc {x}",
        "nice {x}",
        "nice -n 5 {x}",
        "nice -n 5 bash -c {x}",
        "setpriv --reuid 4100 {x}",
        "setpriv --reuid=4100 {x}",
        "setpriv --reuid 4100 sh -c {x}",
        "taskset 1 {x}",
        "taskset -c 1 sh -c {x}",
        "flock /lock {x}",
        "flock /lock -c {x}",
        "flock -n /lock sh -c {x}",
        "xargs {x}",
        "xargs -n 1 sh -c {x}",
        "sudo {x}",
        "sudo -u root {x}",
        "sudo -u root sh -c {x}",
        "su root -c {x}",
        "su -c {x}",
        "ssh host {x}",
        "ssh host ls {x}",
        "watch {x}",
        "script -c {x}",
        "busybox sh -c {x}",
        "systemd-run --user {x}",
        "npx {x}",
        "docker run image {x}",
        "git {x}",
        "git -c {x} log",
        "find . -exec {x}",
        "find <x> -maxdepth 0",
        "find . -exec sh -c {x}",
        "tar --use-compress-program {x}",
        "rsync -e {x} a b",
        "perl -e print <x>",
        "perl -p -e {x}",
        "perl -MData::Dumper {x}",
        "perl -Ilib -e {x}",
        "sed -i.bake {x}",
        "awk -vname=1 {x}",
        "bash -euo pipefail -c {x}",
        "ruby -E utf-8 {x}",
        "lua -e print {x}",
        "julia -e {x}",
        "deno eval {x}",
        "deno run {x}",
        "npm run {x}",
        "pwsh -Command {x}",
        "go run {x}",
        "env -u X env -u Y {x}",
    ] {
        assert!(judge(line).is_some(), "{line}");
    }
}

#[test]
fn arguments_of_what_is_written_out_are_no_code() {
    for line in [
        "df -h {x}",
        "echo <x>",
        "./check.sh <x>",
        "sh check.sh {x}",
        "sh check.sh <x>",
        "sh -c text sh {x}",
        "bash -euo pipefail check.sh <x>",
        "python3 tool.py <x>",
        "python3 tool.py -c {x}",
        "python3 -m json.tool {x}",
        "perl tool.pl -e {x}",
        "perl -e print {x}",
        "perl -e print -- <x>",
        "awk code {x}",
        "awk -f code.awk {x}",
        "sed -n p {x}",
        "sed -n -e p {x}",
        "sed -n p -- <x>",
        "env A=b tool {x}",
        "timeout 5 tool {x}",
        "timeout --preserve-status 5 tool {x}",
        "timeout 5 python3 tool.py {x}",
        "nice -n 5 tool {x}",
        "flock -n /lock tool {x}",
        "sudo -n tool {x}",
        "sudo -u me tool {x}",
        "find {x} -maxdepth 0",
        "git log {x}",
        "tar cf /dev/null {x}",
        "curl -s {x}",
        "kill -9 {x}",
        "docker logs {x}",
        "docker run --rm image tool {x}",
        "java -jar app.jar {x}",
        "node -r ./hook.js tool.js {x}",
        "php -r code {x}",
        "cargo test {x}",
    ] {
        assert_eq!(judge(line), None, "{line}");
    }
}

#[test]
fn a_program_is_known_under_another_name_too() {
    let words = [
        ("/opt/mine", ArgumentContent::Text),
        ("-lc", ArgumentContent::Text),
        ("{x}", ArgumentContent::Value),
    ];
    assert_eq!(first_run_argument(&words, None), None);
    assert_eq!(first_run_argument(&words, Some("/usr/bin/bash")), Some(2));
    let df = [("/bin/df", ArgumentContent::Text), ("{x}", ArgumentContent::Value)];
    assert_eq!(first_run_argument(&df, Some("/bin/busybox")), None);
}

#[test]
fn scripts_are_found_among_the_arguments() {
    let scripts = |line: &str| -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let named = scripts(&words[0], &words[1..]);
        named.into_iter().filter(|named| named.is_script).map(|named| named.word.to_owned()).collect()
    };
    assert_eq!(scripts("python3 -I tool --fast"), ["tool"]);
    assert_eq!(scripts("nice tool"), ["tool"]);
    assert_eq!(scripts("cat reports/a.txt check.sh"), ["check.sh"]);
    assert_eq!(scripts("/bin/sh -c ./a.sh&&exec b;cat<c.txt"), ["./a.sh", "b"]);
}
