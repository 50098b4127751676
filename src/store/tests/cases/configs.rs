//! Revisions of the configuration of a fleet.
use super::*;

fn applied(revision: u64, text: Option<&str>) -> Entry {
    let config =
        AppliedConfig::new(text.map(Into::into), "/x.toml".into(), "ada at a".into(), t(revision as i64));
    entry(revision as i64, Fact::ConfigStored(Arc::new(AppliedConfig { revision, ..config })))
}

#[tokio::test]
async fn revisions_are_kept_and_the_oldest_give_way() {
    let Some(db) = Db::some() else { return };
    let (store, _) = db.open();
    assert_eq!(store.read(|reader| reader.applied_config()).await.unwrap(), None);
    let most = AppliedConfig::KEPT;
    let all = (1..=most + 2).map(|revision| applied(revision, Some("[agents]\n")));
    store.commit(all.collect()).await.unwrap();
    store.commit(vec![applied(most + 3, None)]).await.unwrap();
    let newest = store.read(|reader| reader.applied_config()).await.unwrap().expect("the newest");
    assert_eq!((newest.revision, &newest.text, newest.at), (most + 3, &None, t(most as i64 + 3)));
    let listed = store.read(|reader| reader.configs(1000)).await.unwrap();
    assert_eq!((listed.len() as u64, listed[0].revision), (most, most + 3));
    assert_eq!(store.read(|reader| reader.config(3)).await.unwrap(), None);
    let one = store.read(|reader| reader.config(4)).await.unwrap().expect("it is kept");
    let Fact::ConfigStored(as_written) = applied(4, Some("[agents]\n")).fact else { unreachable!() };
    assert_eq!(one, *as_written);
}
