//! What an agent program is told to do.
use super::handed::DecidedCall;
use crate::runner::output::shorten;

/// Most of the reply to a call that a prompt holds, in bytes.
const LONGEST_REPLY: usize = 16 << 10;

/// The words of a prompt: who the program is to be, and what is asked of it. Where its session goes on, it is told so, and
/// which calls were in flight: programs forget them. What people have decided about calls of it, it is told in any case.
pub(super) fn of(
    system: Option<&str>,
    query: &str,
    goes_on: bool,
    open_calls: &[String],
    decided: &[DecidedCall],
) -> String {
    let mut prompt = String::new();
    if let Some(system) = system.filter(|_| !goes_on) {
        prompt = format!("{}\n\n", system.trim_end());
    }
    if goes_on {
        prompt.push_str(match decided {
            [] => "You were interrupted before you were done. Go on from where you were.\n",
            _ => "You were ended while a person decided about calls of yours. Go on from where you were.\n",
        });
        if !open_calls.is_empty() {
            prompt.push_str(
                "It is unknown whether the calls happened that were in flight. Check what they have changed before you \
                 repeat any of them:\n",
            );
            open_calls.iter().for_each(|call| prompt.push_str(&format!("- {call}\n")));
        }
    }
    if !decided.is_empty() {
        prompt.push_str(
            "\nA person has decided about these calls. They are done with; make none of them again:\n",
        );
        let of_one =
            |one: &DecidedCall| format!("\n- {}\n{}\n", one.call, shorten(&one.reply, LONGEST_REPLY));
        decided.iter().for_each(|one| prompt.push_str(&of_one(one)));
    }
    if goes_on || !decided.is_empty() {
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
        let decided = [DecidedCall { call: "`post` {}".into(), reply: "posted".into() }];
        let again = of(None, "do it", true, &[], &decided);
        assert!(
            again.starts_with("You were ended while a person") && again.contains("- `post` {}\nposted\n"),
            "{again}"
        );
        let anew = of(None, "do it", false, &[], &decided);
        assert!(anew.contains("A person has decided") && anew.ends_with("Your task is:\n\ndo it"), "{anew}");
    }
}
