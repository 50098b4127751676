//! What holds of a store, whichever database it is in: each case runs against both.
mod arrivals;
mod basics;
mod configs;
mod health;
mod joins;
mod ledger;
mod money;
mod notes;
mod retention;

use super::super::*;
use super::Db;
