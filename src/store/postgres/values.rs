//! Conversion of values to and from PostgreSQL, and of its errors.
use crate::store::sql::{Columns, SqlError, SqlErrorKind, SqlResult, Value, odd};
use std::error::Error;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// Converts the placeholders of a statement from `?1` to `$1`. Our statements use the question mark
/// for nothing else.
pub(super) fn numbered(sql: &str) -> String {
    sql.replace('?', "$")
}

/// An owned value, to be sent later.
#[derive(Debug)]
pub(super) enum Bound {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

impl Bound {
    /// Copies a value. PostgreSQL accepts every character in a text except U+0000, which is
    /// replaced by U+FFFD, like invalid characters elsewhere.
    pub(super) fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Integer(*number),
            Value::Real(number) => Self::Real(*number),
            Value::Text(text) => Self::Text(text.replace('\0', "\u{fffd}")),
            Value::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl ToSql for Bound {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, ty) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Integer(number), &Type::INT8) => number.to_sql(ty, out),
            (Self::Integer(number), &Type::INT4) => i32::try_from(*number)?.to_sql(ty, out),
            (Self::Integer(number), &Type::FLOAT8) => (*number as f64).to_sql(ty, out),
            (Self::Integer(number), &Type::BOOL) => (*number != 0).to_sql(ty, out),
            (Self::Real(number), &Type::FLOAT8) => number.to_sql(ty, out),
            (Self::Text(text), &Type::TEXT | &Type::NAME) => text.to_sql(ty, out),
            (Self::Blob(bytes), &Type::BYTEA) => bytes.to_sql(ty, out),
            (value, ty) => Err(format!("the statement wants {ty}, and gets {value:?}").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Reads a column as one of its possible types.
fn column<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> SqlResult<Option<T>> {
    row.try_get(at).map_err(|error| odd(at, error))
}

impl Columns for Row {
    fn integer(&self, at: usize) -> SqlResult<Option<i64>> {
        let ty = self.columns().get(at).map(tokio_postgres::Column::type_);
        match ty {
            Some(&Type::BOOL) => Ok(column::<bool>(self, at)?.map(i64::from)),
            Some(&Type::INT4) => Ok(column::<i32>(self, at)?.map(i64::from)),
            _ => column(self, at),
        }
    }

    fn real(&self, at: usize) -> SqlResult<Option<f64>> {
        column(self, at)
    }

    fn text(&self, at: usize) -> SqlResult<Option<&str>> {
        column(self, at)
    }

    fn blob(&self, at: usize) -> SqlResult<Option<&[u8]>> {
        column(self, at)
    }
}

/// Converts an error of the server or of the connection.
pub(super) fn error_of(error: &tokio_postgres::Error) -> SqlError {
    let Some(code) = error.code() else {
        // a value of the wrong type was never sent
        let kind =
            if error.is_closed() || is_of_io(error) { SqlErrorKind::Lost } else { SqlErrorKind::Refused };
        return SqlError::new(kind, crate::postgres::explain(error, ""));
    };
    SqlError::new(
        kind_of(code),
        format!("{} (SQLSTATE {})", crate::postgres::explain(error, ""), code.code()),
    )
}

fn is_of_io(error: &tokio_postgres::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<std::io::Error>() {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// Error code of our triggers that enforce rules about slots (`RAISE … USING ERRCODE` in the migrations).
const RULE_VIOLATION_CODE: &str = "BG001";

/// Returns whether a row violates a rule about slots, or a unique key.
fn is_of_rules(code: &SqlState) -> bool {
    *code == SqlState::UNIQUE_VIOLATION || code.code() == RULE_VIOLATION_CODE
}

/// Classifies an error by the classes of PostgreSQL's appendix A.
fn kind_of(code: &SqlState) -> SqlErrorKind {
    if is_of_rules(code) {
        return SqlErrorKind::OfRules;
    }
    match *code {
        SqlState::DISK_FULL => return SqlErrorKind::Full,
        SqlState::READ_ONLY_SQL_TRANSACTION => return SqlErrorKind::ReadOnly,
        SqlState::LOCK_NOT_AVAILABLE
        | SqlState::QUERY_CANCELED
        | SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE => return SqlErrorKind::Busy,
        // raised by the fence; no other statement of ours divides
        SqlState::DIVISION_BY_ZERO => return SqlErrorKind::Fenced,
        _ => {}
    }
    match code.code().get(..2) {
        Some("08" | "57") => SqlErrorKind::Lost,
        Some("22" | "23" | "42" | "0A" | "54" | "3F") => SqlErrorKind::Refused,
        _ => SqlErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    //! Tables of codes.
    use super::*;

    #[test]
    fn errors_are_of_the_kind_that_somebody_goes_by() {
        for (code, kind) in [
            ("53100", SqlErrorKind::Full),
            ("53300", SqlErrorKind::Other),
            ("25006", SqlErrorKind::ReadOnly),
            ("55P03", SqlErrorKind::Busy),
            ("57014", SqlErrorKind::Busy),
            ("57P01", SqlErrorKind::Lost),
            ("08006", SqlErrorKind::Lost),
            ("22012", SqlErrorKind::Fenced),
            ("23505", SqlErrorKind::OfRules),
            ("BG001", SqlErrorKind::OfRules),
            ("23514", SqlErrorKind::Refused),
            ("42P01", SqlErrorKind::Refused),
            ("XX001", SqlErrorKind::Other),
        ] {
            assert_eq!(kind_of(&SqlState::from_code(code)), kind, "{code}");
        }
    }

    #[test]
    fn a_text_has_no_nul_on_its_way() {
        assert!(matches!(Bound::of(&Value::Text("a\0b")), Bound::Text(text) if text == "a\u{fffd}b"));
        assert_eq!(numbered("a = ?1 AND b = ?12"), "a = $1 AND b = $12");
    }
}
