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
