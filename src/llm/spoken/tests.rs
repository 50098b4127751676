//! Texts of models, and what is in them.
use super::*;
use crate::domain::ToolDef;
use serde_json::{Value, json};

fn request(tools: &[&str], schema: Option<Value>) -> ModelRequest {
    let tool = |name: &&str| ToolDef {
        name: (*name).into(),
        description: String::new(),
        schema: json!({"type": "object"}),
    };
    ModelRequest {
        system: None,
        messages: Vec::new(),
        tools: tools.iter().map(tool).collect(),
        max_output_tokens: 1,
        output_schema: schema,
        only_answer: false,
    }
}

fn sorted_by(text: &str, finish: Finish, request: &ModelRequest) -> (ModelTurn, Finish) {
    let names = ToolNames::of(&request.tools);
    let mut turn = ModelTurn { text: text.into(), ..ModelTurn::default() };
    let finish = sort(&mut turn, finish, request, &names);
    (turn, finish)
}

fn sorted(text: &str) -> (ModelTurn, Finish) {
    sorted_by(text, Finish::Stop, &request(&["look", "git/hub"], None))
}

fn calls(turn: &ModelTurn) -> Vec<(String, Value)> {
    let args = |text: &str| serde_json::from_str(if text.is_empty() { "{}" } else { text }).expect("JSON");
    turn.calls.iter().map(|call| (call.name.clone(), args(&call.arguments))).collect()
}

#[test]
fn calls_are_found_however_they_are_written() {
    let one = json!({"q": "a", "n": 1});
    for text in [
        r#"<tool_call>
{"name": "look", "arguments": {"q": "a", "n": 1}}
</tool_call>"#,
        r#"<tool_call>{"name": "look", "arguments": {"q": "a", "n": 1}}"#,
        r#"<tool_call>{"name": "look", "arguments": "{\"q\": \"a\", \"n\": 1}"}</tool_call>"#,
        r#"{"name": "look", "arguments": {"q": "a", "n": 1}}"#,
        r#"{"name": "look", "parameters": {"q": "a", "n": 1}}"#,
        r#"[{"name": "functions.look", "arguments": {"q": "a", "n": 1}}]"#,
        r#"{"type": "function", "function": {"name": "look", "arguments": {"q": "a", "n": 1}}}"#,
        r#"{"tool_calls": [{"id": "1", "function": {"name": "look", "arguments": "{\"q\":\"a\",\"n\":1}"}}]}"#,
        r#"{"tool": "look", "tool_input": {"q": "a", "n": 1}}"#,
        "```json\n{\"name\": \"look\", \"arguments\": {\"q\": \"a\", \"n\": 1}}\n```",
        "```tool_call\n{\"name\": \"look\", \"arguments\": {\"q\": \"a\", \"n\": 1}}\n```",
        "```tool_code\nlook(q='a', n=1)\n```",
        "```tool_code\nprint(default_api.look(q=\"a\", n=1))\n```",
        "[look(q=\"a\", n=1)]",
        r#"<function=look>{"q": "a", "n": 1}</function>"#,
        "<tool_call>\n<function=look>\n<parameter=q>\na\n</parameter>\n<parameter=n>\n1\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>look\n<arg_key>q</arg_key>\n<arg_value>a</arg_value>\n<arg_key>n</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
        r#"<function_call>{"name": "look", "arguments": {"q": "a", "n": 1}}</function_call>"#,
        r#"<functioncall> {"name": "look", "arguments": {"q": "a", "n": 1}} <|endoftext|>"#,
        r#"[TOOL_CALLS] [{"name": "look", "arguments": {"q": "a", "n": 1}}]"#,
        r#"[TOOL_CALLS]look[ARGS]{"q": "a", "n": 1}"#,
        r#"[TOOL_CALLS]look{"q": "a", "n": 1}</s>"#,
        r#"[TOOL_REQUEST]{"name": "look", "arguments": {"q": "a", "n": 1}}[END_TOOL_REQUEST]"#,
        r#"<|python_tag|>{"name": "look", "parameters": {"q": "a", "n": 1}}<|eom_id|>"#,
        r#"<|python_tag|>look(q="a", n=1)"#,
        r#"<|tool_call|>[{"name": "look", "arguments": {"q": "a", "n": 1}}]<|/tool_call|>"#,
        r#"<TOOLCALL>[{"name": "look", "arguments": {"q": "a", "n": 1}}]</TOOLCALL>"#,
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{\"q\": \"a\", \"n\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look<｜tool▁sep｜>{\"q\": \"a\", \"n\": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"look\">\n<｜DSML｜parameter name=\"q\" string=\"true\">a</｜DSML｜parameter>\n<｜DSML｜parameter name=\"n\" string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>",
        "<function_calls>\n<invoke name=\"look\">\n<parameter name=\"q\">a</parameter>\n<parameter name=\"n\">1</parameter>\n</invoke>\n</function_calls>",
        "<minimax:tool_call>\n<invoke name=\"look\">\n<parameter name=\"q\">a</parameter>\n<parameter name=\"n\">1</parameter>\n</invoke>\n</minimax:tool_call>",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>{\"q\": \"a\", \"n\": 1}<|tool_call_end|><|tool_calls_section_end|>",
        "<|channel|>analysis<|message|>Let me look.<|end|><|start|>assistant<|channel|>commentary to=functions.look <|constrain|>json<|message|>{\"q\": \"a\", \"n\": 1}<|call|>",
        "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"look\", \"parameters\": {\"q\": \"a\", \"n\": 1}}]<|END_ACTION|>",
        "✿FUNCTION✿: look\n✿ARGS✿: {\"q\": \"a\", \"n\": 1}",
        "Thought: I must look.\nAction: look\nAction Input: {\"q\": \"a\", \"n\": 1}\nObservation: nothing",
        "<think>I must look.</think>\n<tool_call>{\"name\": \"look\", \"arguments\": {\"q\": \"a\", \"n\": 1}}</tool_call>",
        "I look.\n<tool_call>{\"name\": \"look\", \"arguments\": {\"q\": \"a\", \"n\": 1}}</tool_call>\n<tool_response>all well</tool_response>",
    ] {
        let (turn, finish) = sorted(text);
        assert_eq!(finish, Finish::Stop, "{text}");
        assert_eq!(calls(&turn), [("look".to_owned(), one.clone())], "{text}");
        assert!(!turn.text.contains('{') && !turn.text.contains('<'), "{text}: {}", turn.text);
    }
}

#[test]
fn several_calls_and_line_breaks_in_arguments() {
    for text in [
        "<tool_call>\n{\"name\": \"look\", \"arguments\": {}}\n</tool_call>\n<tool_call>\n{\"name\": \"git_hub\", \"arguments\": {\"t\": \"a\nb\"}}\n</tool_call>",
        "[TOOL_CALLS]look[ARGS]{}[TOOL_CALLS]git_hub[ARGS]{\"t\": \"a\nb\"}",
        "{\"name\": \"look\", \"arguments\": {}}\n{\"name\": \"git_hub\", \"arguments\": {\"t\": \"a\nb\"}}",
        "{\"name\": \"look\"}; {\"name\": \"git_hub\", \"arguments\": {\"t\": \"a\nb\"}}",
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_call_begin|>functions.git_hub:1<|tool_call_argument_begin|>{\"t\": \"a\nb\"}<|tool_call_end|><|tool_calls_section_end|>",
    ] {
        let (turn, _) = sorted(text);
        let expected = [("look".to_owned(), json!({})), ("git/hub".to_owned(), json!({"t": "a\nb"}))];
        assert_eq!(calls(&turn), expected, "{text}");
    }
}

#[test]
fn a_tool_that_does_not_exist_is_a_call_as_well() {
    for text in [
        "<tool_call>{\"name\": \"loook\", \"arguments\": {}}</tool_call>",
        "{\"name\": \"loook\", \"arguments\": {}}",
    ] {
        assert_eq!(calls(&sorted(text).0), [("loook".to_owned(), json!({}))], "{text}");
    }
}

#[test]
fn what_can_not_be_read_is_neither_made_nor_an_answer() {
    for text in [
        "<tool_call>{\"name\": \"look\", \"arguments\": {\"q\": </tool_call>",
        "<tool_call>look at it</tool_call>",
        "<function_calls><invoke name=\"look\"><parameter name=\"q\">rm",
        "[TOOL_CALLS]",
        "I call it now:\n```json\n{\"name\": \"look\", \"arguments\": {}}\n```",
        "I call it now:\n{\"name\": \"look\", \"arguments\": {}}",
        "Action: look\nAction Input: all of it",
    ] {
        let (turn, finish) = sorted(text);
        assert!(matches!(finish, Finish::Unreadable(_)) && turn.calls.is_empty(), "{text}: {turn:?}");
    }
    let (turn, finish) =
        sorted_by("<tool_call>{\"name\": \"look\"}</tool_call>", Finish::Stop, &request(&[], None));
    assert!(matches!(finish, Finish::Unreadable(_)) && turn.calls.is_empty());
    let (_, finish) = sorted_by("<tool_call>{\"name\": \"lo", Finish::Length, &request(&["look"], None));
    assert_eq!(finish, Finish::Length);
}

#[test]
fn an_answer_is_an_answer() {
    for text in [
        "All is well.",
        "{\"digest\": \"x\", \"items\": []}",
        "{\"name\": \"Ada\", \"age\": 36, \"arguments\": {}}",
        "{\"name\": \"Ada\"}",
        "[1, 2, 3]",
        "[]",
        "Models write `<tool_call>` before a call, and `<think>` before thoughts.",
        "Some models print <tool_call> into their text.",
        "How it looks:\n```\n<tool_call>{\"name\": \"x\"}</tool_call>\n```\nThat is all.",
        "Call look(q=1) if you like.",
        "A < b, and {this} is no JSON.",
        "```json\n{\"digest\": \"x\"}\n```",
    ] {
        let (turn, finish) = sorted(text);
        assert_eq!((turn.text.as_str(), turn.calls.len(), finish), (text, 0, Finish::Stop));
        assert_eq!(turn.thought, None, "{text}");
    }
    // fits what was asked for
    let schema = json!({"type": "object", "required": ["name", "arguments"]});
    let text = "{\"name\": \"look\", \"arguments\": {}}";
    let (turn, finish) = sorted_by(text, Finish::Stop, &request(&["look"], Some(schema)));
    assert_eq!((turn.text.as_str(), turn.calls.len(), finish), (text, 0, Finish::Stop));
    // who has no tools may be asked for such JSON
    let (turn, _) = sorted_by(text, Finish::Stop, &request(&[], None));
    assert_eq!(turn.text, text);
}

#[test]
fn thoughts_are_no_part_of_the_answer() {
    for (text, answer, thought) in [
        ("<think>\nlet me see\n</think>\n\nAll well.", "All well.", "let me see"),
        ("<think></think>All well.", "All well.", ""),
        ("<THINK>a</THINK> b", "b", "a"),
        ("let me see\nand so on\n</think>\n\nAll well.", "All well.", "let me see\nand so on"),
        ("let me see</think>\nAll well.", "All well.", "let me see"),
        ("<think>a <think>b</think> c</think>d", "d", "a <think>b</think> c"),
        ("<think>never ends", "", "never ends"),
        ("<thinking>a</thinking>\nb\n<thinking>c</thinking>\nd", "b\n\nd", "a\nc"),
        ("[THINK]a[/THINK]b", "b", "a"),
        ("◁think▷a◁/think▷b", "b", "a"),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "b", "a"),
        ("<think>a</think><answer>b</answer>", "b", "a"),
        ("<think>a</think>\n{\"digest\": 1}", "{\"digest\": 1}", "a"),
        ("<think>use `<think>` or ```\n</think>\nb", "b", "use `<think>` or ```"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>",
            "b",
            "a",
        ),
    ] {
        let (turn, finish) = sorted(text);
        assert_eq!((turn.text.as_str(), finish), (answer, Finish::Stop), "{text}");
        assert_eq!(turn.thought.unwrap_or_default(), thought, "{text}");
    }
}

#[test]
fn what_is_made_to_be_slow_is_read_quickly() {
    let began = crate::testing::worked();
    for text in [
        "<think>".repeat(12_000) + &"</think>".repeat(12_000),
        "<think>a</think>\n".repeat(6_000),
        "`<think>`".repeat(12_000),
        "x\n".repeat(12_000) + &("`<think>`".repeat(98) + "\n<think>a</think>\n").repeat(100),
        "`<tool_call>`".repeat(12_000),
        "[look(".repeat(12_000),
        "print(".repeat(12_000) + &")".repeat(12_000),
        "print([".repeat(12_000) + "look()" + &"])".repeat(12_000),
        "[print(".repeat(12_000) + "look()" + &")]".repeat(12_000),
        "{\"name\": \"look\", \"arguments\": {\"t\": \"a\nb\"}}\n".repeat(1_200),
        "[".repeat(60_000),
    ] {
        sorted(&text);
    }
    let took = crate::testing::worked() - began;
    assert!(took < std::time::Duration::from_secs(30), "{took:?}");
}
