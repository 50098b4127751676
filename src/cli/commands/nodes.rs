//! `bgagent nodes`: the daemons that share the records.
use super::prelude::*;
use crate::cli::render::node_list;
use crate::protocol::{ListNodes, NoParams};

pub(in crate::cli) fn run(app: &mut App) -> Result<Outcome, Failure> {
    let nodes = app.reading()?.call::<ListNodes>(&NoParams {})?;
    app.answer(&nodes, |nodes, screen| node_list(nodes, screen))?;
    Ok(Outcome::Done)
}
