//! What a new life gets to know of money.
use super::*;

#[tokio::test]
async fn days_of_a_clock_that_was_ahead_do_not_hide_what_was_spent_today() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let spent = |day: &str, usd| {
        let day = day.parse().unwrap();
        let worst = WorstCase { tokens: 1, output: 1, usd };
        let used = Usage { requests: 1, usd, ..Usage::default() };
        let said = |said| {
            Fact::Talked(Box::new(Talk {
                run: run(1),
                agent: id("a"),
                session: "s".into(),
                attempt: 1,
                said,
            }))
        };
        vec![
            entry(1, said(Said::Held { n: 0, model: "m".into(), worst, day })),
            entry(2, said(Said::Charged { asked: 0, day, model: "m".into(), used })),
        ]
    };
    store.commit(vec![entry(0, claim(1, None))]).await.unwrap();
    for (day, usd) in [("2026-11-29", 0.5), ("2027-11-29", 0.25)] {
        store.commit(spent(day, usd)).await.unwrap();
    }
    drop(store);
    let (_store, restored) = db.open();
    let days: Vec<(String, f64)> =
        restored.spent.iter().map(|row| (row.day.to_string(), row.used.usd)).collect();
    assert_eq!(days, [("2026-11-29".to_owned(), 0.5), ("2027-11-29".to_owned(), 0.25)]);
    assert_eq!(restored.newest_run, Some(run(1)));
}

#[tokio::test]
async fn a_code_is_used_up_by_the_decision() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    let said = |said| {
        let talk = Talk { run: run(1), agent: id("a"), session: "a".into(), attempt: 1, said };
        Fact::Talked(Box::new(talk))
    };
    let wanted = ApprovalWanted { id: "x-1-0".into(), call: 0, tool: "t".into(), args: "{}".into() };
    let notice = Notice::new(&id("a"), TellOn::ApprovalRequested, "s".into(), "b".into());
    let notice = Box::new(Notice { approval: Some(wanted.id.clone()), ..notice });
    let question = QuestionRecord {
        code: "code1".into(),
        approval: wanted.id.clone(),
        target: "me".into(),
        call: call_hash("t", "{}"),
        asked_at: t(1),
    };
    let first = vec![
        entry(0, said(Said::Waits { wanted: vec![wanted] })),
        entry(0, Fact::NotificationQueued { target: "me".into(), notice }),
        entry(1, Fact::QuestionAsked(Box::new(question.clone()))),
        entry(1, Fact::AnswersHeard { target: "me".into(), position: "7".into() }),
    ];
    store.commit(first).await.unwrap();
    let due = store.read(|reader| reader.outbox_due(t(1), 9)).await.unwrap();
    assert!(due[0].asks, "it goes by itself");
    let open = async || store.read(|reader| reader.open_questions()).await.unwrap();
    let asked =
        async |code: &'static str| store.read(move |reader| reader.question_of_code(code)).await.unwrap();
    assert_eq!(open().await, std::slice::from_ref(&question));
    let call = question.call.clone();
    let known = store.read(move |reader| reader.question("x-1-0", "me", &call)).await.unwrap();
    assert_eq!(known, Some(question.clone()), "a second try has the same code");
    let other = store.read(|reader| reader.question("x-1-0", "me", "another call")).await.unwrap();
    assert_eq!((other, asked("code2").await), (None, None));
    let decided = Said::Decided {
        id: "x-1-0".into(),
        call: 0,
        tool: "t".into(),
        approved: true,
        reason: None,
        by: Some("ada".into()),
    };
    store.commit(vec![entry(2, said(decided))]).await.unwrap();
    assert_eq!(open().await, []);
    let over = asked("code1").await.unwrap();
    assert_eq!((over.is_open, over.approved, over.by.as_deref()), (false, true, Some("ada")));
    let due = store.read(|reader| reader.outbox_due(t(9), 9)).await.unwrap();
    assert_eq!(due, [], "nobody is asked about what is decided");
    let heard = store.read(|reader| reader.answer_position("me")).await.unwrap();
    assert_eq!(heard.as_deref(), Some("7"));
    // one is kept as long as its call waits, and as long as runs are kept
    let keep = Retention { runs: SignedDuration::from_secs(100), ..Retention::default() };
    store.prune(keep, settled(50)).await.unwrap();
    assert!(asked("code1").await.is_some());
    store.prune(keep, settled(200)).await.unwrap();
    assert_eq!(asked("code1").await, None);
}
