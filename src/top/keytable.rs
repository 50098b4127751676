//! The keys, for the help and the documentation. `update` implements them.

/// A row of the table of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyRow {
    pub(super) keys: &'static str,
    pub(super) does: &'static str,
    /// They change the fleet.
    pub(super) acts: bool,
}

const fn look(keys: &'static str, does: &'static str) -> KeyRow {
    KeyRow { keys, does, acts: false }
}

const fn act(keys: &'static str, does: &'static str) -> KeyRow {
    KeyRow { keys, does, acts: true }
}

/// All keys.
pub(super) const KEYS: &[KeyRow] = &[
    look("↑ ↓ j k", "up, down; PgUp and PgDn by pages, g and G to the ends"),
    look("1 to 8", "the views; Tab: the next one"),
    look("Enter", "down: from a line to its page, from an agent to its run"),
    look("Esc q", "back; q on Now quits, Ctrl-C always"),
    look("n N", "next and previous line that is not well"),
    look("/", "only lines with this text; ! before it: without it"),
    look("f", "only what is not well"),
    look("s", "order of the agents: by name, worst, due, cost"),
    look("z", "in Slots: an hour, 6 hours, 24 hours, 7 days"),
    look("a", "in Incidents: also those that have ended"),
    look("w", "why: what became of the newest slot"),
    look("l", "output of the run; End follows it"),
    look("o", "that output in $PAGER"),
    look("t", "the log of the agent"),
    look("e", "its lines of agents.toml in $EDITOR"),
    look("y Y", "copy the id; the command that shows this"),
    look("Space", "freeze the screen, and go on"),
    act("R", "run the agent now"),
    act("P", "pause it, for a time or until it is resumed"),
    act("U", "resume or start it; close an open circuit"),
    act("S", "stop it"),
    act("K", "skip its next slot"),
    act("X", "cancel the run"),
    act("A D", "approve or deny a call"),
    act("C", "acknowledge an incident"),
];
