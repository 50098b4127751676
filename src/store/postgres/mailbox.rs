//! Calls forwarded from nodes to the leader: rows of `forwarded`. The leader takes them under its
//! epoch, so that no two leaders handle the same call; a call that is not taken yet can be
//! withdrawn, and then provably never happens.
use super::node_link::{NodeLink, UncertainError};
use super::session::Session;
use crate::store::error::StoreError;
use crate::store::sql::{Scope, Sql, SqlResult, params};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Maximum number of unanswered calls per node.
const MAX_NODE_CALLS: i64 = 200;
/// Maximum number of unanswered calls in total.
const MAX_CALLS: i64 = 2000;
/// Maximum number of answers fetched at once.
pub const MAX_ANSWERS: usize = 64;
/// Larger answers use a separate connection, so that they delay nothing else.
const LARGE_ANSWER_BYTES: usize = 128 << 10;

/// A call that is forwarded to the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardedCall {
    /// A unique key, chosen by the forwarding node.
    pub key: String,
    /// The user and node of the client.
    pub asker: String,
    pub method: String,
    /// Its parameters, as JSON.
    pub params: String,
    /// The id by which the leader recognizes a change that it has already made.
    pub request_id: Option<String>,
}

/// A call that the leader has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenCall {
    pub id: i64,
    /// The session of the node that forwarded it.
    pub session: String,
    pub call: ForwardedCall,
    /// The epoch of an earlier leader that took it without answering.
    pub taken_before: Option<i64>,
}

/// Selects calls by method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallsOf {
    /// Only these methods.
    Only(Vec<&'static str>),
    /// All but these methods.
    AllBut(Vec<&'static str>),
}

/// Answers that have arrived.
#[derive(Debug, Default)]
pub struct CallAnswers {
    /// Short answers.
    pub short: Vec<CallAnswer>,
    /// Ids and keys of large answers: [`NodeLink::large_answer`] fetches each.
    pub large: Vec<(i64, String)>,
}

/// The answer to a forwarded call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallAnswer {
    /// The id of the call.
    pub id: i64,
    pub key: String,
    /// The answer, as the leader wrote it.
    pub text: String,
}

/// The result of forwarding a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// It waits for the leader.
    Yes,
    /// Too many calls wait.
    Full,
}

/// The result of withdrawing a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// No leader had taken it, and none will.
    Yes,
    /// A leader has taken it.
    Taken,
}

impl NodeLink {
    /// Forwards a call; idempotent. The leader can take it for half a minute. A call that
    /// `may_take_long` may use only half of the capacity, so that short calls always find some.
    pub async fn post(
        self: &Arc<Self>,
        call: ForwardedCall,
        may_take_long: bool,
    ) -> Result<Posted, UncertainError> {
        let share = if may_take_long { 2 } else { 1 };
        self.attempt("forwarding a call", move |link, session| link.post_now(session, &call, share)).await
    }

    fn post_now(&self, session: &Session, call: &ForwardedCall, share: i64) -> SqlResult<Posted> {
        let db: &Sql = session;
        let change = db.begin(Scope::Write)?;
        let posted = change.change(
            "INSERT INTO forwarded(key, node, session, asker, method, params, request_id, expires)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, now() + interval '30 seconds'
             WHERE (SELECT count(*) FROM forwarded WHERE answer IS NULL) < ?8
               AND (SELECT count(*) FROM forwarded WHERE answer IS NULL AND session = ?3) < ?9
             ON CONFLICT(key) DO NOTHING",
            params![
                call.key,
                self.name().as_str(),
                self.session,
                call.asker,
                call.method,
                call.params,
                call.request_id,
                MAX_CALLS / share,
                MAX_NODE_CALLS / share
            ],
        )?;
        if posted == 0 && !change.exists("SELECT 1 FROM forwarded WHERE key = ?1", params![call.key])? {
            return Ok(Posted::Full);
        }
        notify(&*change, &self.calls_channel())?;
        change.commit()?;
        Ok(Posted::Yes)
    }

    /// Returns answers for this session of the node: the oldest [`MAX_ANSWERS`] short ones, and as
    /// many large ones. They are kept until [`NodeLink::forget`] removes them.
    pub async fn answers(self: &Arc<Self>) -> Result<CallAnswers, StoreError> {
        self.with("fetching answers", |link, session| {
            let db: &Sql = session;
            let short = db.rows(
                "SELECT id, key, answer FROM forwarded
                 WHERE session = ?1 AND answer IS NOT NULL AND octet_length(answer) <= ?2 ORDER BY id LIMIT ?3",
                params![link.session, LARGE_ANSWER_BYTES as i64, MAX_ANSWERS as i64],
                |row| Ok(CallAnswer { id: row.get(0)?, key: row.get(1)?, text: row.get(2)? }),
            )?;
            let large = db.rows(
                "SELECT id, key FROM forwarded
                 WHERE session = ?1 AND answer IS NOT NULL AND octet_length(answer) > ?2 ORDER BY id LIMIT ?3",
                params![link.session, LARGE_ANSWER_BYTES as i64, MAX_ANSWERS as i64],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            Ok(CallAnswers { short, large })
        })
        .await
    }

    /// Fetches a large answer. `None`: it has been removed.
    pub async fn large_answer(self: &Arc<Self>, id: i64) -> Result<Option<String>, StoreError> {
        self.with_large("fetching a large answer", move |_, session| {
            let db: &Sql = session;
            db.row("SELECT answer FROM forwarded WHERE id = ?1", params![id], |row| row.get(0))
        })
        .await
    }

    /// Removes a question that is no longer of interest. If a leader has taken it, it is kept until
    /// it is answered.
    pub async fn drop_question(self: &Arc<Self>, key: String) -> Result<(), StoreError> {
        self.with("removing a question", move |_, session| {
            let db: &Sql = session;
            db.run("DELETE FROM forwarded WHERE key = ?1 AND taken IS NULL", params![key])
        })
        .await
    }

    /// Removes calls whose answers have arrived.
    pub async fn forget(self: &Arc<Self>, ids: Vec<i64>) -> Result<(), StoreError> {
        self.with("removing answers", move |_, session| {
            let db: &Sql = session;
            let change = db.begin(Scope::Write)?;
            for id in &ids {
                change.run("DELETE FROM forwarded WHERE id = ?1", params![*id])?;
            }
            change.commit()
        })
        .await
    }

    /// Withdraws a call, if no leader has taken it, together with all calls for the same change,
    /// which get `answer`. If it is unknown whether the call was `posted`, a row with its key and
    /// an empty answer is inserted: that waits for a transaction that may still be writing the
    /// call, so that a withdrawn call can't appear later. A posted call that is missing was
    /// answered. A change already made under the same `request_id` is not withdrawn.
    pub async fn withdraw(
        self: &Arc<Self>,
        key: String,
        posted: bool,
        request_id: String,
        answer: String,
    ) -> Result<Withdrawn, StoreError> {
        self.with("withdrawing a call", move |link, session| {
            let db: &Sql = session;
            let change = db.begin(Scope::Write)?;
            let withdrawn = match posted {
                true => change.change(
                    "UPDATE forwarded SET session = '', answer = '', answered_at = now() WHERE key = ?1 AND taken IS NULL",
                    params![key],
                )?,
                false => change.change(
                    "INSERT INTO forwarded(key, node, session, asker, method, params, expires, answer, answered_at)
                     VALUES (?1, ?2, '', '', '', '', now(), '', now())
                     ON CONFLICT(key) DO UPDATE SET session = '', answer = '', answered_at = now()
                     WHERE forwarded.taken IS NULL",
                    params![key, link.name().as_str()],
                )?,
            };
            change.run(
                "UPDATE forwarded SET answer = ?2, answered_at = now()
                 WHERE request_id = ?1 AND taken IS NULL AND answer IS NULL",
                params![request_id, answer],
            )?;
            let is_taken = change.exists(
                "SELECT 1 FROM forwarded WHERE request_id = ?1 AND taken IS NOT NULL
                 UNION ALL SELECT 1 FROM requests WHERE id = ?1",
                params![request_id],
            )?;
            change.commit()?;
            Ok(if withdrawn > 0 && !is_taken { Withdrawn::Yes } else { Withdrawn::Taken })
        })
        .await
    }

    /// Takes calls as the leader with this epoch, in the order in which they were forwarded. This
    /// includes calls that an earlier leader has not answered, for an hour: nobody waits for older
    /// ones, while the answers by which a completed change is recognized are kept for a day. It
    /// also includes calls that were taken but did not arrive, because they are not `in_hand`.
    pub async fn take(
        self: &Arc<Self>,
        epoch: i64,
        most: i64,
        in_hand: &BTreeSet<i64>,
        of: &CallsOf,
    ) -> Result<Vec<TakenCall>, StoreError> {
        let in_hand = in_hand.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let (methods, only) = match of {
            CallsOf::Only(methods) => (methods.join(","), true),
            CallsOf::AllBut(methods) => (methods.join(","), false),
        };
        self.with("taking calls", move |_, session| {
            let db: &Sql = session;
            // lists are values, not text: each text would be a separate prepared statement
            let mut taken = db.rows(
                "WITH mine AS (SELECT id, taken AS before FROM forwarded
                   WHERE answer IS NULL
                     AND ((taken IS NULL AND expires > now())
                       OR (expires > now() - interval '1 hour'
                         AND (taken < ?1 OR (taken = ?1 AND id <> ALL (CAST(string_to_array(?3, ',') AS BIGINT[]))))))
                     AND (method = ANY (string_to_array(?4, ','))) = (CAST(?5 AS BIGINT) <> 0)
                     AND EXISTS (SELECT 1 FROM fleet WHERE epoch = ?1)
                   ORDER BY id LIMIT ?2 FOR UPDATE SKIP LOCKED)
                 UPDATE forwarded f SET taken = ?1 FROM mine WHERE f.id = mine.id
                 RETURNING f.id, f.session, f.key, f.asker, f.method, f.params, f.request_id, mine.before",
                params![epoch, most, in_hand, methods, i64::from(only)],
                |row| {
                    let call = ForwardedCall {
                        key: row.get(2)?,
                        asker: row.get(3)?,
                        method: row.get(4)?,
                        params: row.get(5)?,
                        request_id: row.get(6)?,
                    };
                    Ok(TakenCall { id: row.get(0)?, session: row.get(1)?, call, taken_before: row.get(7)? })
                },
            )?;
            taken.sort_by_key(|taken| taken.id);
            Ok(taken)
        })
        .await
    }

    /// Gives back calls that were taken under this epoch and not begun: their state is restored for
    /// the next leader.
    pub async fn give_back(
        self: &Arc<Self>,
        epoch: i64,
        calls: Vec<(i64, Option<i64>)>,
    ) -> Result<(), StoreError> {
        self.with("giving calls back", move |_, session| {
            let db: &Sql = session;
            let change = db.begin(Scope::Write)?;
            for (id, before) in &calls {
                change.run(
                    "UPDATE forwarded SET taken = ?3 WHERE id = ?1 AND taken = ?2 AND answer IS NULL",
                    params![*id, epoch, *before],
                )?;
            }
            change.commit()
        })
        .await
    }

    /// Answers a call that was taken under this epoch, unless a later leader has taken it.
    pub async fn answer(
        self: &Arc<Self>,
        epoch: i64,
        taken: &TakenCall,
        answer: String,
    ) -> Result<(), StoreError> {
        let (id, channel) = (taken.id, self.channel_of(&taken.session));
        let is_large = answer.len() > LARGE_ANSWER_BYTES;
        let work = move |_: &Self, session: &Session| {
            let db: &Sql = session;
            let change = db.begin(Scope::Write)?;
            change.run(
                "UPDATE forwarded SET answer = ?3, answered_at = now() WHERE id = ?1 AND taken = ?2 AND answer IS NULL
                   AND EXISTS (SELECT 1 FROM fleet WHERE epoch = ?2)",
                params![id, epoch, answer],
            )?;
            notify(&*change, &channel)?;
            change.commit()
        };
        match is_large {
            true => self.with_large("answering a call", work).await,
            false => self.with("answering a call", work).await,
        }
    }

    /// Removes abandoned calls.
    pub async fn clean(self: &Arc<Self>) -> Result<(), StoreError> {
        self.with("removing old calls", |_, session| {
            let db: &Sql = session;
            db.run(
                "DELETE FROM forwarded WHERE answered_at < now() - interval '5 minutes'
                   OR (taken IS NULL AND expires < now() - interval '5 minutes') OR expires < now() - interval '25 hours'",
                &[],
            )
        })
        .await
    }
}

fn notify(db: &Sql, channel: &str) -> SqlResult<()> {
    db.rows("SELECT 1 FROM (SELECT pg_notify(?1, '')) AS rung", params![channel], |_| Ok(())).map(|_| ())
}
