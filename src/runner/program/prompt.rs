//! The prompt of an agent program.
use super::handed::HandedOutcome;
use crate::domain::OUTCOMES;

/// Builds the prompt: the program's role and the query. If its session continues, it is told so, and which calls were in
/// flight: programs forget them. Of calls that were settled meanwhile, only the names are given: the command line is visible to
/// others, so it must not contain their outcomes.
pub(super) fn of(
    system: Option<&str>,
    query: &str,
    goes_on: bool,
    open_calls: &[String],
    outcomes: &[HandedOutcome],
) -> String {
    let mut prompt = String::new();
    if let Some(system) = system.filter(|_| !goes_on) {
        prompt = format!("{}\n\n", system.trim_end());
    }
    if goes_on {
        prompt.push_str("You were interrupted before you were done. Go on from where you were.\n");
        if !open_calls.is_empty() {
            prompt.push_str(
                "It is unknown whether the calls happened that were in flight. Check what they have changed before you \
                 repeat any of them:\n",
            );
            open_calls.iter().for_each(|call| prompt.push_str(&format!("- {call}\n")));
        }
    }
    if !outcomes.is_empty() {
        let names: Vec<String> = outcomes.iter().map(|one| format!("`{}`", one.tool)).collect();
        prompt.push_str(&format!(
            "Tool calls that you made were settled while you did not run: {}. First call the tool `{OUTCOMES}` of the MCP \
             server `bgagent`: it says what came of each. Do not repeat what was done or denied.\n",
            names.join(", ")
        ));
    }
    if goes_on || !outcomes.is_empty() {
        prompt.push_str(if goes_on { "\nYour task was:\n\n" } else { "\nYour task is:\n\n" });
    }
    prompt.push_str(query);
    prompt
}

#[cfg(test)]
mod tests {
    //! Tests of what is said to a program.
    use super::*;

    #[test]
    fn who_goes_on_is_told_what_was_in_flight() {
        assert_eq!(of(None, "do it", false, &[], &[]), "do it");
        assert_eq!(of(Some("Be brief.\n"), "do it", false, &["x".into()], &[]), "Be brief.\n\ndo it");
        let again = of(Some("Be brief."), "do it", true, &["shell {\"command\":\"make\"}".into()], &[]);
        assert!(
            again.starts_with("You were interrupted") && again.ends_with("Your task was:\n\ndo it"),
            "{again}"
        );
        assert!(again.contains("\n- shell {\"command\":\"make\"}\n"), "{again}");
        assert!(!of(None, "do it", true, &[], &[]).contains("in flight"));
        let outcomes = [HandedOutcome::test("post")];
        let again = of(None, "do it", true, &[], &outcomes);
        assert!(
            again.contains("settled while you did not run: `post`. First call the tool `outcomes`"),
            "{again}"
        );
        let anew = of(None, "do it", false, &[], &outcomes);
        assert!(anew.contains("`outcomes`") && anew.ends_with("Your task is:\n\ndo it"), "{anew}");
    }
}
