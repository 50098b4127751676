//! Configuration words for agent programs.
use crate::domain::words::words;

words! {
    /// Agent programs whose flags and files are known.
    RunnerPreset {
        /// Claude Code.
        Claude = "claude",
        /// OpenAI Codex.
        Codex = "codex",
        /// opencode.
        Opencode = "opencode",
        /// Gemini CLI.
        Gemini = "gemini",
        /// goose.
        Goose = "goose",
    }
}

words! {
    /// How an agent program says what it does.
    RunnerProtocol {
        /// The Agent Client Protocol, over standard input and output.
        Acp = "acp",
        /// Lines of JSON as Claude Code prints them (`--output-format stream-json`).
        ClaudeJson = "claude-json",
        /// Lines of JSON as Codex prints them (`codex exec --json`).
        CodexJson = "codex-json",
        /// Lines of JSON as opencode prints them (`opencode run --format json`).
        OpencodeJson = "opencode-json",
        /// Lines of JSON as Gemini CLI prints them (`gemini -o stream-json`).
        GeminiJson = "gemini-json",
    }
}

words! {
    /// With whose credentials an agent program reaches its provider.
    RunnerAuth {
        /// Those of the model that `meter` names; the program never sees them.
        Meter = "meter",
        /// Those that the program was logged in with.
        Own = "own",
    }
}

words! {
    /// When an agent program goes on with its own earlier session.
    ResumePolicy {
        /// A further attempt of the same run does.
        Crash = "crash",
        /// Each run goes on with the one before.
        Always = "always",
        /// Each attempt begins anew.
        Never = "never",
    }
}

words! {
    /// What an agent program does where no permission names it.
    PermissionDefault {
        /// It may.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
    }
}

words! {
    /// Kinds of what an agent program can be allowed.
    PermissionKind {
        /// To read files and to search in them.
        Read = "read",
        /// To change files.
        Edit = "edit",
        /// To execute commands.
        Execute = "execute",
        /// To fetch from the network.
        Fetch = "fetch",
    }
}

words! {
    /// When what was made in a clone comes back as a branch.
    KeepBranch {
        /// When something was made.
        Changed = "changed",
        /// In any case.
        Always = "always",
        /// Not at all.
        Never = "never",
    }
}
