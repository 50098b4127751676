//! The ledger of the bench: what a store would hold of slots, and refuse.
use super::*;

struct Record {
    row: AheadRow,
    verdict: Verdict,
    cause: String,
}

/// By agent, in the order of the slots.
#[derive(Default)]
pub(super) struct Ledger(BTreeMap<AgentId, Vec<Record>>);

impl Ledger {
    pub(super) fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::SlotsJudged { agent, first, last, count, verdict, cause, extends, .. } => {
                let records = self.0.entry(agent.clone()).or_default();
                let at = records.partition_point(|record| record.row.last < *first);
                let apart = records.get(at).is_none_or(|next| next.row.first > *last);
                assert!(apart, "{agent}: {verdict} {first}..={last} overlaps");
                if *extends {
                    let before = &mut records[at - 1];
                    assert!(before.verdict == *verdict && before.cause == *cause);
                    (before.row.last, before.row.count) = (*last, before.row.count + count);
                } else {
                    let row =
                        AheadRow { first: *first, last: *last, count: *count, ran: *verdict == Verdict::Ran };
                    records.insert(at, Record { row, verdict: *verdict, cause: cause.clone() });
                }
            }
            Fact::SlotRevised { agent, slot: Some(slot), verdict, cause, joins, .. } => {
                let records = self.0.get_mut(agent).unwrap();
                let at = records.iter().position(|record| record.row.first == *slot).unwrap();
                (records[at].verdict, records[at].cause) = (*verdict, cause.clone());
                records[at].row.ran = *verdict == Verdict::Ran;
                if *joins && at > 0 && records[at - 1].verdict == *verdict && records[at - 1].cause == *cause
                {
                    records.remove(at);
                    records[at - 1].row.last = *slot;
                    records[at - 1].row.count += 1;
                }
            }
            Fact::SlotsTakenBack { agent, behind, taken } => {
                let records = self.0.get_mut(agent).unwrap();
                let goes = |record: &Record| {
                    record.row.first > *behind && record.row.last <= taken.last && !record.row.ran
                };
                records.retain(|record| !goes(record));
                if let Some((last, count)) = taken.cut {
                    let record = records.iter_mut().rfind(|record| record.row.first <= *behind).unwrap();
                    (record.row.last, record.row.count) = (last, count);
                }
            }
            _ => {}
        }
    }

    pub(super) fn look(&self, look: LookAhead) -> Ahead {
        let records = self.0.get(&look.spec.id);
        let floor = look.floor;
        let mut ahead = Ahead::new(look, None);
        let rows = records.into_iter().flatten().map(|record| record.row);
        rows.filter(|row| row.last > floor).for_each(|row| ahead.add(row));
        ahead
    }

    /// Slots of an agent with a verdict.
    pub(super) fn slots(&self, agent: &str) -> u64 {
        self.0.get(&id(agent)).into_iter().flatten().map(|record| record.row.count).sum()
    }
}
