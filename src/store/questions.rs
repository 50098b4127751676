//! Calls put to people at notification targets: the codes of their answers, and the position up to
//! which answers of a target were received.
use super::error::StoreError;
use super::rows::instant;
use super::sql::{Sql, SqlResult, SqlRow, params};
use super::types::AskedCall;
use crate::domain::{QuestionRecord, to_micros};
use crate::store::reader::Reader;

const COLUMNS: &str =
    "questions.code, questions.approval, questions.target, questions.call, questions.asked_at, approvals.decided_at IS NULL,
     approvals.approved, approvals.decided_by, approvals.reason";
const JOINED: &str = "questions JOIN approvals ON approvals.id = questions.approval";

pub(super) fn asked(db: &Sql, question: &QuestionRecord) -> SqlResult<()> {
    let QuestionRecord { code, approval, target, call, asked_at } = question;
    db.run(
        "INSERT INTO questions(code, approval, target, call, asked_at) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
        params![code, approval, target, call, to_micros(*asked_at)],
    )
}

pub(super) fn heard(db: &Sql, target: &str, position: &str) -> SqlResult<()> {
    db.run(
        "INSERT INTO listeners(target, position) VALUES (?1, ?2) ON CONFLICT(target) DO UPDATE SET position = excluded.position",
        params![target, position],
    )
}

/// Removes unsent questions about a call that was decided.
pub(super) fn decided(db: &Sql, approval: &str) -> SqlResult<()> {
    db.run("DELETE FROM outbox WHERE approval = ?1 AND due IS NOT NULL", params![approval])
}

impl Reader {
    /// Returns the question about a call at a target.
    pub fn question(
        &self,
        approval: &str,
        target: &str,
        call: &str,
    ) -> Result<Option<QuestionRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {JOINED} WHERE questions.approval = ?1 AND questions.target = ?2 AND questions.call = ?3"
        );
        let found = self.ask("reading questions", |db| db.row(&sql, params![approval, target, call], row))?;
        Ok(found.map(|found| found.question))
    }

    /// Returns questions about calls that still wait for a person, oldest first.
    pub fn open_questions(&self) -> Result<Vec<QuestionRecord>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {JOINED} WHERE approvals.decided_at IS NULL ORDER BY questions.asked_at, questions.code"
        );
        let found = self.ask("reading questions", |db| db.rows(&sql, &[], row))?;
        Ok(found.into_iter().map(|found| found.question).collect())
    }

    /// Returns the call that was asked about under this code, and its decision.
    pub fn question_of_code(&self, code: &str) -> Result<Option<AskedCall>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {JOINED} WHERE questions.code = ?1");
        self.ask("reading questions", |db| db.row(&sql, params![code], row))
    }

    /// Returns the position up to which answers of a target were received, in the format of its service.
    pub fn answer_position(&self, target: &str) -> Result<Option<String>, StoreError> {
        self.ask("reading how far answers were heard", |db| {
            db.row("SELECT position FROM listeners WHERE target = ?1", params![target], |row| row.get(0))
        })
    }
}

fn row(row: &SqlRow<'_>) -> SqlResult<AskedCall> {
    Ok(AskedCall {
        question: QuestionRecord {
            code: row.get(0)?,
            approval: row.get(1)?,
            target: row.get(2)?,
            call: row.get(3)?,
            asked_at: instant(row, 4)?,
        },
        is_open: row.get(5)?,
        approved: row.get::<Option<bool>>(6)?.unwrap_or(false),
        by: row.get(7)?,
        reason: row.get(8)?,
    })
}
