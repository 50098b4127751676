//! `kill -9` at every step. The archive runs in a process of its own: this test program, started anew with a
//! name in its environment; it ends itself there without any chance to clean up, or is killed at any instant.
use super::check::{Rows, archived, is_partition, table};
use super::*;
use std::process::{Child, Command, Stdio};

/// What a child is to do.
const JOB: &str = "BGAGENT_TEST_ARCHIVE";
/// Every step that is named in the code.
const STEPS: &[&str] =
    &["written", "verified", "intended", "deleted", "sealed", "done", "differ", "unmarked"];
/// The steps of the way back.
const BACK: &[&str] = &["restoring", "put", "rest", "unsealed", "unmarked"];

/// The child: not a test of its own.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let (folder, what) = job.split_once('|').expect("a folder and a job");
    let text = std::fs::read_to_string(Path::new(folder).join("agents.toml")).expect("settings");
    let tools = tools(Path::new(folder), &text);
    let result = match what {
        "archive" => {
            let context = CallContext {
                store: store(Path::new(folder)),
                timeout: Some(Duration::from_secs(7200)),
                ..CallContext::default()
            };
            tools
                .call("old", &json!({}), &context)
                .await
                .map(|output| output.result)
                .map_err(|error| error.to_string())
        }
        _ => {
            let range = ArchiveRange { to: Some(what.parse().expect("a time")), ..ArchiveRange::default() };
            restore(&tools, "old", range).await
        }
    };
    println!("{}", result.expect("it works"));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
}

/// The state database of this folder, where a test made one.
pub(super) fn store(folder: &Path) -> Option<bgagent::store::Store> {
    let path = folder.join("bgagent.db");
    path.exists().then(|| bgagent::store::Store::open(&path).expect("a state database").0)
}

/// Runs a job to its end. Gives its result, and the most memory that it had, in MiB.
pub(super) fn does(folder: &Path, job: &str) -> (Value, u64) {
    let mut command = command(folder, job);
    // One heap: the threads' own would keep what each of them had at its peak.
    let output = command.env("MALLOC_ARENA_MAX", "1").output().expect("our program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let result = text.lines().find_map(|line| serde_json::from_str(line.get(line.find('{')?..)?).ok());
    let most = text
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
    (result.expect("a result"), most.expect("a memory") >> 10)
}

fn command(folder: &Path, job: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our program"));
    command
        .args(["--exact", "archive::crash::child", "--nocapture", "--test-threads", "1"])
        .env(JOB, format!("{}|{job}", folder.display()));
    command
}

fn start(folder: &Path, job: &str, die_at: Option<&str>) -> Child {
    let mut command = command(folder, job);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some(step) = die_at {
        command.env("BGAGENT_ARCHIVE_DIE_AT", step);
    }
    command.spawn().expect("our program starts")
}

/// Runs a job that ends at this step; was it reached?
fn dies(place: &Place, job: &str, step: &str) -> bool {
    dies_in(place.folder.path(), job, step)
}

/// Runs the archive of a folder, and lets `meanwhile` happen when it is at this step. Gives its result, or what
/// it said when it failed.
pub(super) fn while_stopped(folder: &Path, step: &str, meanwhile: impl FnOnce()) -> Result<Value, String> {
    let mut child = command(folder, "archive")
        .env("BGAGENT_ARCHIVE_STOP_AT", step)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("our program starts");
    let state = format!("/proc/{}/stat", child.id());
    crate::support::wait_for("the step", || {
        assert!(child.try_wait().expect("a child").is_none(), "it ended before {step}");
        let stat = std::fs::read_to_string(&state).ok()?;
        stat.rsplit_once(") ")?.1.starts_with('T').then_some(())
    });
    meanwhile();
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("it goes on");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    match text.lines().find_map(|line| serde_json::from_str(line.get(line.find('{')?..)?).ok()) {
        Some(result) if output.status.success() => Ok(result),
        _ => Err(text + &String::from_utf8_lossy(&output.stderr)),
    }
}

/// The same with any folder that holds an `agents.toml`.
pub(super) fn dies_in(folder: &Path, job: &str, step: &str) -> bool {
    use std::os::unix::process::ExitStatusExt;
    let status = start(folder, job, Some(step)).wait().expect("a child");
    assert!(status.success() || status.signal() == Some(9), "the child failed: {status}");
    !status.success()
}

#[track_caller]
pub(super) fn whole(place: &Place, all: &Rows) -> (usize, usize) {
    let left = table(&place.db(), "t", "id");
    let old = archived(&place.path("archive"), "id", &left);
    is_partition(&left, &old, all);
    (left.len(), old.len())
}

fn place(rows: i64) -> (Place, Rows) {
    let place = Place::new();
    fill(&place.db(), rows);
    std::fs::write(place.path("agents.toml"), settings("chunk_rows = 7")).expect("our folder");
    let all = table(&place.db(), "t", "id");
    (place, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_each_step_no_row_is_lost_or_doubled() {
    let mut killed = 0;
    for step in STEPS.iter().filter(|step| !["differ", "unmarked"].contains(step)) {
        let (place, all) = place(60);
        // each run dies one chunk later than the one before, and settles what that one left
        let mut round = 1;
        while dies(&place, "archive", &format!("{step}:{round}")) {
            killed += 1;
            whole(&place, &all);
            round = round % 3 + 1;
            assert!(killed < 1000, "{step}: it never gets done");
            if killed % 40 == 0 {
                break;
            }
        }
        assert_eq!(archive(&place.tools("chunk_rows = 7"), "old").await.unwrap()["more"], false);
        assert_eq!(whole(&place, &all), (30, 30), "{step}");
    }
    assert!(killed >= 20, "only {killed} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_the_way_back_no_row_is_lost_or_doubled() {
    let mut killed = 0;
    for step in BACK.iter().chain(STEPS) {
        let (place, all) = place(60);
        let db = place.db();
        // half of the old rows are older, in each chunk
        db.execute_batch("UPDATE t SET at = '2019-01-01' WHERE id % 4 = 1").unwrap();
        let all = {
            drop(all);
            table(&db, "t", "id")
        };
        let tools = place.tools("chunk_rows = 7");
        archive(&tools, "old").await.unwrap();
        for round in 1..=4 {
            if dies(&place, "2020-01-01T00:00:00Z", &format!("{step}:{round}")) {
                killed += 1;
            }
            whole(&place, &all);
        }
        let range =
            ArchiveRange { to: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..ArchiveRange::default() };
        restore(&tools, "old", range).await.unwrap();
        assert_eq!(whole(&place, &all), (45, 15), "{step}");
        archive(&tools, "old").await.unwrap();
        assert_eq!(whole(&place, &all), (30, 30), "{step}");
    }
    assert!(killed >= 15, "only {killed} kills");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_instant_no_row_is_lost_or_doubled() {
    let (place, all) = place(2000);
    let mut pause = Duration::from_millis(5);
    let mut killed = 0;
    // from early in the start to the middle of the work, so that each instant of it is met
    while killed < 60 {
        let mut child = start(place.folder.path(), "archive", None);
        std::thread::park_timeout(pause);
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        killed += 1;
        whole(&place, &all);
        pause += Duration::from_micros(1700);
    }
    assert!(killed >= 20, "only {killed} kills");
    assert_eq!(archive(&place.tools("chunk_rows = 7"), "old").await.unwrap()["more"], false);
    assert_eq!(whole(&place, &all), (1000, 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_change_meanwhile_stay() {
    for step in ["written", "verified", "intended"] {
        let (place, _) = place(60);
        let db = place.db();
        assert!(dies(&place, "archive", &format!("{step}:2")));
        // between the copy and the deletion: one row changes, one goes, one comes
        db.execute_batch(
            "UPDATE t SET note = 'changed' WHERE id = 17; DELETE FROM t WHERE id = 19;
             INSERT INTO t VALUES (100, '2020-01-01', 'late')",
        )
        .unwrap();
        let mut all = table(&db, "t", "id");
        let old = archived(&place.path("archive"), "id", &all);
        all.extend(old);
        whole(&place, &all);
        let done = archive(&place.tools("chunk_rows = 7"), "old").await.unwrap();
        assert_eq!(done["more"], false);
        let (left, old) = whole(&place, &all);
        // where the intent stood, the row that somebody deleted was taken for archived: it is kept
        assert_eq!((left, left + old), (30, all.len()), "{step}");
        let changed = archived(&place.path("archive"), "id", &table(&db, "t", "id"));
        assert_eq!(changed["17"]["note"], "changed", "{step}");
        // and what was copied of it before it changed is not counted, but not destroyed either
        assert_eq!(std::fs::read_dir(place.path("archive/unclaimed")).unwrap().count(), 1, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_used_again_does_not_destroy_the_archived_row() {
    // one row of a chunk; all rows of the last one, so that no key is free
    for (step, again) in [("deleted:1", &[3][..]), ("deleted:5", &[57, 59])] {
        let (place, all) = place(60);
        let db = place.db();
        assert!(dies(&place, "archive", step));
        for id in again {
            db.execute("INSERT INTO t VALUES (?1, datetime('now'), 'new')", [id]).unwrap();
        }
        let old = || archived(&place.path("archive"), "id", &table(&db, "t", "id"));
        let before = old();
        let tools = place.tools("chunk_rows = 7");
        let done = archive(&tools, "old").await.unwrap();
        assert_eq!((&done["mended"]["finished"], &done["more"]), (&json!(1), &json!(false)), "{step}");
        assert!(before.iter().all(|(id, row)| old().get(id) == Some(row)), "{step}");
        assert_eq!((table(&db, "t", "id").len(), old().len()), (30 + again.len(), 30), "{step}");
        let back = restore(&tools, "old", ArchiveRange::default()).await.unwrap();
        let wanted = (json!(30 - again.len()), json!(again.len()));
        assert_eq!((&back["restored"], &back["conflicts"]), (&wanted.0, &wanted.1), "{step}");
        db.execute_batch("DELETE FROM t WHERE note = 'new'").unwrap();
        restore(&tools, "old", ArchiveRange::default()).await.unwrap();
        assert_eq!(whole(&place, &all), (60, 0), "{step}");
    }
}

/// Writers that never rest, while the archive is killed again and again.
#[tokio::test(flavor = "multi_thread")]
async fn writers_go_on_while_it_is_killed() {
    let (place, _) = place(400);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (path, asked) = (place.path("app.db"), stop.clone());
    // each row gets ever higher numbers, so that a version that was lost or came back shows
    let writer = std::thread::spawn(move || {
        let db = rusqlite::Connection::open(path).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut newest: std::collections::BTreeMap<i64, i64> = std::collections::BTreeMap::new();
        let mut number = 0;
        while !asked.load(std::sync::atomic::Ordering::Relaxed) {
            number += 1;
            let id = (number * 7919) % 400 + 1;
            // one row of each chunk rests: where all differ, nobody could tell that none of them was deleted
            if id % 14 == 1 {
                continue;
            }
            let done =
                db.execute("UPDATE t SET note = ?2 WHERE id = ?1", rusqlite::params![id, number.to_string()]);
            if done.unwrap() == 1 {
                newest.insert(id, number);
            }
            std::thread::park_timeout(Duration::from_millis(3));
        }
        newest
    });
    for round in 0..25 {
        let step = STEPS[round % 5];
        dies(&place, "archive", &format!("{step}:{}", round % 4 + 1));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let newest = writer.join().unwrap();
    archive(&place.tools("chunk_rows = 7"), "old").await.unwrap();
    let left = table(&place.db(), "t", "id");
    let old = archived(&place.path("archive"), "id", &left);
    assert_eq!((left.len(), old.len()), (200, 200));
    for (id, number) in newest {
        let id = id.to_string();
        let row = left.get(&id).or(old.get(&id)).unwrap();
        assert_eq!(row["note"], number.to_string(), "row {id} has a version that is not its last");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_archives_at_a_time_take_turns() {
    let (place, all) = place(4000);
    let one = place.tools("chunk_rows = 20");
    let other = place.tools("chunk_rows = 20");
    let (first, second) = tokio::join!(archive(&one, "old"), archive(&other, "old"));
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    for result in [first, second] {
        assert!(
            result.as_ref().is_ok_and(|done| done["more"] == false)
                || result.unwrap_err().contains("another archive")
        );
    }
    archive(&one, "old").await.unwrap();
    assert_eq!(whole(&place, &all), (2000, 2000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_back_otherwise_is_not_deleted() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 3] = [
        (|object| std::fs::write(object, "short").unwrap(), "it has 5 bytes, and"),
        (
            |object| {
                let mut bytes = std::fs::read(object).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                std::fs::write(object, bytes).unwrap();
            },
            "its checksum does not match: the object is damaged",
        ),
        (|object| std::fs::remove_file(object).unwrap(), "is missing"),
    ];
    for (damage, wanted) in damages {
        let (place, all) = place(60);
        let error = while_stopped(place.folder.path(), "written:2", || {
            let objects =
                std::fs::read_dir(place.path("archive")).unwrap().flatten().map(|entry| entry.path());
            let objects = objects.filter(|path| path.to_string_lossy().ends_with(".zst"));
            damage(&objects.max().expect("an object"));
        });
        let error = error.expect_err("it is noticed");
        assert!(error.contains(wanted), "no `{wanted}` in: {error}");
        // the chunk before it is archived, this one is not
        assert_eq!(whole(&place, &all), (53, 7));
        assert_eq!(archive(&place.tools(""), "old").await.unwrap()["more"], false);
        let left = table(&place.db(), "t", "id");
        is_partition(&left, &archived(&place.path("archive"), "id", &left), &all);
        assert_eq!(left.len(), 30);
    }
}

#[test]
fn what_changes_after_the_copy_stays() {
    for step in ["written:2", "verified:2", "intended:2"] {
        let (place, mut all) = place(60);
        let db = place.db();
        let done = while_stopped(place.folder.path(), step, || {
            db.execute_batch("UPDATE t SET note = 'changed' WHERE id = 17; DELETE FROM t WHERE id = 19")
                .unwrap();
        });
        let done = done.unwrap();
        assert_eq!(
            (&done["moved"], &done["changed"], &done["more"]),
            (&json!(28), &json!(2), &json!(false)),
            "{step}"
        );
        all.get_mut("17").unwrap()["note"] = "changed".into();
        all.remove("19");
        assert_eq!(whole(&place, &all), (31, 28), "{step}");
    }
}
