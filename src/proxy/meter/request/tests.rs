//! Tests of what goes on of a request, and what it may come to.
use super::*;
use serde_json::{Value, json};

fn reader(wire: ModelWire) -> RequestReader {
    let provider = match wire {
        ModelWire::Messages => Provider::Anthropic,
        ModelWire::Responses | ModelWire::Chat => Provider::OpenAi,
        ModelWire::Gemini => Provider::Gemini,
    };
    RequestReader { wire, provider, max_output_tokens: 4096, counts_only: false }
}

fn read(wire: ModelWire, body: &Value) -> Result<Readied, String> {
    let model = (wire == ModelWire::Gemini).then_some("gemini-2.5-pro");
    reader(wire).read(body.to_string().as_bytes(), model)
}

fn sent(wire: ModelWire, body: &Value) -> (Value, Readied) {
    let readied = read(wire, body).unwrap();
    (serde_json::from_slice(&readied.body).unwrap(), readied)
}

const ALL: [ModelWire; 4] = [ModelWire::Messages, ModelWire::Responses, ModelWire::Chat, ModelWire::Gemini];

#[test]
fn what_needs_no_change_goes_on_byte_for_byte() {
    for (wire, text) in [
        (
            ModelWire::Messages,
            r#"{ "model" : "m", "max_tokens":5 ,"temperature":1.50,"messages":[{"role":"user","content":"h\u00e9"}],"tools":[{"type":"bash_20250124","name":"bash"},{"name":"web_search","input_schema":{}}]}"#,
        ),
        (
            ModelWire::Responses,
            r#"{"model":"m" ,"max_output_tokens":5,"stream":true,"input":[],"include":["reasoning.encrypted_content"],"tools":[{"type":"function","name":"web_search"},{"type":"custom","name":"apply_patch"},{"type":"namespace","name":"x","tools":[{"type":"function","name":"y"}]}]}"#,
        ),
        (
            ModelWire::Chat,
            r#"{"model":"m", "max_tokens":5,"stream":true,"stream_options":{"include_usage":true},"messages":[]}"#,
        ),
        (
            ModelWire::Gemini,
            r#"{"contents":[], "generation_config":{"max_output_tokens":5},"tools":[{"functionDeclarations":[]}]}"#,
        ),
    ] {
        let readied = reader(wire).read(text.as_bytes(), Some("m")).unwrap();
        assert_eq!(std::str::from_utf8(&readied.body).unwrap(), text, "{wire:?}");
        assert_eq!(
            (readied.output, readied.taken_out.len(), readied.model.as_str()),
            (5, 0, "m"),
            "{wire:?}"
        );
    }
}

#[test]
fn a_bound_of_the_answer_is_added_where_there_is_none_and_never_lowered() {
    for (wire, body, at) in [
        (ModelWire::Messages, json!({"model": "m"}), "/max_tokens"),
        (ModelWire::Responses, json!({"model": "m", "max_output_tokens": null}), "/max_output_tokens"),
        (ModelWire::Chat, json!({"model": "m"}), "/max_completion_tokens"),
        (ModelWire::Gemini, json!({}), "/generationConfig/maxOutputTokens"),
        (
            ModelWire::Gemini,
            json!({"generationConfig": {"thinkingConfig": {"thinkingBudget": 8192}}}),
            "/generationConfig/maxOutputTokens",
        ),
    ] {
        let (sent, readied) = sent(wire, &body);
        assert_eq!(sent.pointer(at), Some(&json!(4096)), "{wire:?}");
        assert_eq!(readied.output, 4096);
        assert_eq!(
            sent.pointer("/generationConfig/thinkingConfig"),
            body.pointer("/generationConfig/thinkingConfig")
        );
    }
    let like = RequestReader { provider: Provider::OpenAiCompatible, ..reader(ModelWire::Chat) };
    let readied = like.read(br#"{"model":"m"}"#, None).unwrap();
    assert_eq!(&readied.body[..], br#"{"model":"m","max_tokens":4096}"#);
    for (wire, body, output) in [
        (ModelWire::Messages, json!({"model": "m", "max_tokens": 64000}), 64000),
        (ModelWire::Chat, json!({"model": "m", "max_tokens": 5, "max_completion_tokens": 7, "n": 1}), 7),
        (ModelWire::Chat, json!({"model": "m", "max_tokens": 5.0}), 5),
        (ModelWire::Gemini, json!({"generationConfig": {"maxOutputTokens": "7", "candidateCount": 1}}), 7),
    ] {
        let (sent, readied) = sent(wire, &body);
        assert_eq!(readied.output, output, "{body}");
        assert_eq!(sent, body);
    }
    for (wire, body) in [
        (ModelWire::Chat, json!({"model": "m", "max_tokens": -1})),
        (ModelWire::Messages, json!({"model": "m", "max_tokens": 1.5})),
        (ModelWire::Responses, json!({"model": "m", "max_output_tokens": [1]})),
        (ModelWire::Gemini, json!({"generationConfig": {"maxOutputTokens": -5}})),
    ] {
        assert!(read(wire, &body).unwrap_err().contains("must be a whole number"), "{body}");
    }
}

#[test]
fn a_bound_stands_where_each_server_reads_it() {
    let like = RequestReader { provider: Provider::Ollama, ..reader(ModelWire::Chat) };
    let body = br#"{"model":"m","max_completion_tokens":7,"n_predict":-1}"#;
    let readied = like.read(body, None).unwrap();
    assert_eq!(&readied.body[..], br#"{"model":"m","max_completion_tokens":7,"max_tokens":7}"#);
    assert_eq!((readied.output, readied.taken_out), (7, vec!["n_predict".to_owned()]));
}

#[test]
fn a_bound_of_0_is_none() {
    for (wire, body, at) in [
        (ModelWire::Responses, json!({"model": "m", "max_output_tokens": 0}), "/max_output_tokens"),
        (ModelWire::Chat, json!({"model": "m", "max_tokens": 0}), "/max_completion_tokens"),
        (
            ModelWire::Gemini,
            json!({"generationConfig": {"maxOutputTokens": 0}}),
            "/generationConfig/maxOutputTokens",
        ),
    ] {
        let (sent, readied) = sent(wire, &body);
        assert_eq!((sent.pointer(at), readied.output), (Some(&json!(4096)), 4096), "{wire:?}");
    }
    let (sent, readied) =
        sent(ModelWire::Chat, &json!({"model": "m", "max_tokens": 0, "max_completion_tokens": 7}));
    assert_eq!((sent.get("max_tokens"), readied.output), (None, 7));
    // at Anthropic it warms the cache up
    let warming = json!({"model": "m", "max_tokens": 0, "messages": []});
    let readied = read(ModelWire::Messages, &warming).unwrap();
    assert_eq!((&readied.body[..], readied.output), (warming.to_string().as_bytes(), 0));
}

#[test]
fn groups_of_tools_have_no_groups_within_and_objects_not_any_number_of_keys() {
    let levels = 30_000;
    let open = r#"{"type":"namespace","name":"x","tools":["#.repeat(levels);
    let body = format!(r#"{{"model":"m","input":[],"tools":[{open}{}]}}"#, "]}".repeat(levels));
    let error = reader(ModelWire::Responses).read(body.as_bytes(), None).unwrap_err();
    assert!(error.contains("`namespace` of tools within another"), "{error}");
    let keys: serde_json::Map<String, Value> = (0..2000).map(|at| (format!("k{at}"), json!({}))).collect();
    let error = read(ModelWire::Gemini, &json!({"tools": [keys]})).unwrap_err();
    assert!(error.contains("more than 1000 keys"), "{error}");
    let some: serde_json::Map<String, Value> = (0..900)
        .map(|at| (format!("k{at}"), json!({})))
        .chain([("functionDeclarations".to_owned(), json!([]))])
        .collect();
    let (sent, readied) = sent(ModelWire::Gemini, &json!({"tools": [some]}));
    assert_eq!((&sent["tools"], readied.taken_out.len()), (&json!([{"functionDeclarations": []}]), 900));
}

#[test]
fn tools_within_a_conversation_are_judged_as_others_are() {
    let own = json!({"type": "function", "name": "read"});
    let search = json!({"type": "web_search"});
    for kind in ["additional_tools", "tool_search_output"] {
        let group = json!({"type": "namespace", "name": "x", "tools": [search, own]});
        let body = json!({"model": "m", "input": [{"type": kind, "tools": [search, own, group]}]});
        let (sent, readied) = sent(ModelWire::Responses, &body);
        let group = json!({"type": "namespace", "name": "x", "tools": [own]});
        assert_eq!(sent["input"], json!([{"type": kind, "tools": [own, group]}]));
        assert_eq!((readied.has_tools, readied.taken_out), (true, vec!["web_search".to_owned(); 2]));
        let body = json!({"model": "m", "max_output_tokens": 5, "input": [{"type": kind, "tools": [own]}]});
        let readied = read(ModelWire::Responses, &body).unwrap();
        assert_eq!((&readied.body[..], readied.has_tools), (body.to_string().as_bytes(), true));
    }
    let adds = |tool: Value| {
        let said = json!({"type": "text", "text": "x"});
        let added = json!({"type": "tool_addition", "tool": tool});
        json!({"model": "m", "max_tokens": 5, "messages": [{"role": "system", "content": [said, added]}]})
    };
    let defined = |definition: &Value| adds(json!({"type": "tool_definition", "definition": definition}));
    let own = json!({"name": "read", "input_schema": {}});
    for body in [adds(json!({"type": "tool_reference", "name": "read"})), defined(&own)] {
        let readied = read(ModelWire::Messages, &body).unwrap();
        assert_eq!(&readied.body[..], body.to_string().as_bytes());
    }
    assert!(read(ModelWire::Messages, &defined(&own)).unwrap().has_tools);
    for (body, named) in [
        (defined(&json!({"type": "web_search_20250305", "name": "x"})), "web_search_20250305"),
        (adds(json!({"type": "mcp_toolset_reference", "name": "x"})), "mcp_toolset_reference"),
    ] {
        let (sent, readied) = sent(ModelWire::Messages, &body);
        assert_eq!(sent["messages"][0]["content"], json!([{"type": "text", "text": "x"}]));
        assert_eq!((readied.taken_out, readied.has_tools), (vec![named.to_owned()], false));
    }
    for kind in ["tool_removal", "fallback"] {
        let body = json!({"model": "m", "messages": [{"content": [{"type": kind, "tool": {"type": "tool_reference", "name": "x"}}]}]});
        read(ModelWire::Messages, &body).unwrap();
    }
}

#[test]
fn items_of_input_are_what_stands_in_them() {
    for item in [
        json!({"role": "user", "content": "hi"}),
        json!({"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}),
        json!({"type": "reasoning", "summary": [], "encrypted_content": "gAAAA"}),
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}),
        json!({"type": "reasoning", "summary": [], "content": null, "encrypted_content": null}),
        json!({"type": "function_call", "id": "fc_1", "name": "shell", "arguments": "{}", "call_id": "c"}),
        json!({"type": "function_call_output", "call_id": "c", "output": ""}),
        json!({"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "x"}),
        json!({"type": "custom_tool_call_output", "call_id": "c", "output": "x"}),
        json!({"type": "local_shell_call", "call_id": "c", "status": "completed", "action": {"type": "exec"}}),
        json!({"type": "web_search_call", "status": "completed"}),
        json!({"type": "compaction", "encrypted_content": "gAAAA"}),
    ] {
        read(ModelWire::Responses, &json!({"model": "m", "input": [item]})).unwrap();
    }
    for (item, word) in [
        (json!({"id": "msg_1"}), "refers to"),
        (json!({"id": "msg_1", "content": "x"}), "refers to"),
        (json!({"type": "item_reference", "id": "msg_1"}), "refers to"),
        (json!({"type": "message", "id": "msg_1", "role": "assistant", "content": []}), "refers to"),
        (json!({"type": "reasoning", "id": "rs_1", "summary": []}), "refers to"),
        (json!({"type": "reasoning", "id": "rs_1", "content": []}), "refers to"),
        (json!({"type": "image_generation_call", "id": "ig_1"}), "refers to"),
        (json!({"type": "compaction_trigger"}), "compaction_trigger"),
        (json!({"type": "mcp_approval_response", "approve": true}), "mcp_approval_response"),
        (json!([]), "can't be read"),
    ] {
        let error = read(ModelWire::Responses, &json!({"model": "m", "input": [item]})).unwrap_err();
        assert!(error.contains(word), "{item}: {error}");
    }
}

#[test]
fn what_would_ask_other_models_is_taken_out() {
    for wire in ALL {
        for key in ["fallbacks", "fallback_credit_token", "multi_agent"] {
            let (sent, readied) = sent(wire, &json!({"model": "m", key: {"x": 1}}));
            assert_eq!((sent.get(key), readied.taken_out), (None, vec![key.to_owned()]), "{wire:?}");
        }
    }
}

#[test]
fn of_gateways_own_fields_none_goes_on() {
    for key in [
        "provider",
        "preset",
        "route",
        "fallback_models",
        "model_fallbacks",
        "num_retries",
        "compound_custom",
        "search_settings",
        "enable_code_interpreter",
        "forced_search",
        "browse",
        "builtin_tools",
        "server_tools",
        "connectors",
        "data_sources",
        "min_tokens",
        "ignore_eos",
        "num_return_sequences",
        "extra_body",
        "thinking_budget",
        "Provider",
        "made_up_tomorrow",
    ] {
        let (sent, readied) =
            sent(ModelWire::Chat, &json!({"model": "m", "max_tokens": 5, "temperature": 0.5, key: 1}));
        assert_eq!((sent.get(key), readied.taken_out), (None, vec![key.to_owned()]));
        assert_eq!((&sent["max_tokens"], &sent["temperature"]), (&json!(5), &json!(0.5)), "the rest stays");
    }
}

#[test]
fn unknown_fields_go_on_in_no_wire_and_those_of_the_real_programs_in_each() {
    for wire in ALL {
        let (sent, readied) = sent(wire, &json!({"model": "m", "made_up_tomorrow": {"model": "dear"}}));
        assert_eq!(sent.get("made_up_tomorrow"), None, "{wire:?}");
        assert_eq!(readied.taken_out, ["made_up_tomorrow"], "{wire:?}");
    }
    // as Claude Code 2.1.197, Codex 0.171.0 and Gemini CLI 0.61.0 send them
    for (wire, body) in [
        (
            ModelWire::Messages,
            json!({"model": "m", "max_tokens": 5, "messages": [], "system": [], "tools": [], "stream": true,
                "metadata": {"user_id": "x"}, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"},
                "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}}),
        ),
        (
            ModelWire::Responses,
            json!({"model": "m", "max_output_tokens": 5, "input": [], "include": [], "client_metadata": {"x": "y"},
                "parallel_tool_calls": true, "prompt_cache_key": "k", "reasoning": {"summary": "auto"}, "store": false,
                "stream": true, "tool_choice": "auto", "tools": [], "instructions": "x"}),
        ),
        (
            ModelWire::Gemini,
            json!({"contents": [], "generationConfig": {"maxOutputTokens": 5, "topK": 64}, "systemInstruction": {},
                "tools": []}),
        ),
    ] {
        let (sent, readied) = sent(wire, &body);
        assert_eq!((sent, readied.taken_out), (body, vec![]), "{wire:?}");
    }
}

#[test]
fn only_what_is_known_to_cost_nothing_more_goes_on() {
    for (wire, tool) in [
        (ModelWire::Messages, json!({"type": "web_search_20991231", "name": "x"})),
        (ModelWire::Messages, json!({"type": "holodeck_20991231", "name": "x"})),
        (ModelWire::Messages, json!({"type": "bash_code_20250124", "name": "x"})),
        (ModelWire::Messages, json!({"name": "x"})),
        (ModelWire::Responses, json!({"type": "computer"})),
        (ModelWire::Responses, json!({"type": "shell"})),
        (ModelWire::Responses, json!({"type": "tool_search"})),
        (ModelWire::Chat, json!({"type": "openrouter:web_search"})),
        (ModelWire::Chat, json!({"web_search": {}})),
        (ModelWire::Gemini, json!({"googleTimeMachine": {}})),
    ] {
        let (sent, readied) = sent(wire, &json!({"model": "m", "tools": [tool]}));
        assert_eq!((sent.get("tools"), readied.taken_out.len()), (None, 1), "{tool}");
    }
    for (wire, tool) in [
        (ModelWire::Messages, json!({"type": "text_editor_20250728", "name": "x"})),
        (ModelWire::Messages, json!({"type": "custom", "name": "x"})),
        (ModelWire::Responses, json!({"type": "tool_search", "execution": "client"})),
        (ModelWire::Responses, json!({"type": "local_shell"})),
        (ModelWire::Chat, json!({"function": {"name": "x"}})),
    ] {
        let (sent, readied) = sent(wire, &json!({"model": "m", "tools": [tool]}));
        assert_eq!((&sent["tools"][0], readied.taken_out.len()), (&tool, 0));
    }
    for (wire, key, value) in [
        (ModelWire::Messages, "speed", json!("faster")),
        (ModelWire::Messages, "inference_geo", json!("us")),
        (ModelWire::Messages, "container", json!({"skills": []})),
        (ModelWire::Gemini, "serviceTier", json!("PRIORITY")),
        (ModelWire::Chat, "enable_search", json!(true)),
    ] {
        let (sent, readied) = sent(wire, &json!({"model": "m", key: value}));
        assert_eq!((sent.get(key), readied.taken_out.len()), (None, 1), "{key}");
    }
}

#[test]
fn what_asks_a_model_again_by_itself_is_refused() {
    let edits = |kinds: &[&str]| {
        let edits: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind})).collect();
        json!({"model": "m", "context_management": {"edits": edits}})
    };
    read(ModelWire::Messages, &edits(&["clear_tool_uses_20250919", "clear_thinking_20251015"])).unwrap();
    let refused = read(ModelWire::Messages, &edits(&["clear_tool_uses_20250919", "compact_20260112"]));
    assert!(refused.unwrap_err().contains("compact_20260112"));
    let body =
        json!({"model": "m", "context_management": [{"type": "compaction", "compact_threshold": 1000}]});
    assert!(read(ModelWire::Responses, &body).unwrap_err().contains("context_management"));
}

#[test]
fn usage_of_a_stream_is_asked_for() {
    for options in [json!(null), json!({}), json!({"include_usage": false, "x": 1})] {
        let body = json!({"model": "m", "max_tokens": 5, "stream": true, "stream_options": options});
        let (sent, _) = sent(ModelWire::Chat, &body);
        assert_eq!(sent["stream_options"]["include_usage"], true);
        assert_eq!(sent["stream_options"].get("x"), options.get("x"));
    }
    let (sent, _) = sent(ModelWire::Chat, &json!({"model": "m", "max_tokens": 5}));
    assert_eq!(sent.get("stream_options"), None);
}

#[test]
fn tools_that_a_provider_runs_are_taken_out_and_named() {
    let own = json!({"type": "function", "name": "read"});
    for kind in [
        "web_search",
        "web_search_preview_2025_03_11",
        "file_search",
        "code_interpreter",
        "computer_use_preview",
        "mcp",
        "image_generation",
    ] {
        let body = json!({"model": "m", "max_output_tokens": 5, "tools": [{"type": kind, "x": 1}, own], "tool_choice": {"type": kind}});
        let (sent, readied) = sent(ModelWire::Responses, &body);
        assert_eq!(sent["tools"], json!([own]), "{kind}");
        assert_eq!((sent.get("tool_choice"), readied.taken_out), (None, vec![kind.to_owned()]));
    }
    let group = json!({"type": "namespace", "name": "x", "tools": [{"type": "web_search"}, own]});
    let (sent_group, _) = sent(ModelWire::Responses, &json!({"model": "m", "tools": [group]}));
    assert_eq!(sent_group["tools"], json!([{"type": "namespace", "name": "x", "tools": [own]}]));
    for place in ["container_auto", "\\u0063ontainer_auto"] {
        let body = format!(
            "{{\"model\":\"m\",\"tools\":[{{\"type\":\"shell\",\"environment\":{{\"type\":\"{place}\"}}}}]}}"
        );
        let readied = reader(ModelWire::Responses).read(body.as_bytes(), None).unwrap();
        assert_eq!((readied.has_tools, readied.taken_out), (false, vec!["shell".to_owned()]), "{place}");
    }
    let local = json!({"model": "m", "tools": [{"type": "shell", "environment": {"type": "local"}}]});
    assert_eq!(sent(ModelWire::Responses, &local).0["tools"], local["tools"]);

    for kind in ["web_search_20250305", "web_fetch_20250910", "code_execution_20250825", "mcp_toolset"] {
        let own = json!({"name": "web_search", "input_schema": {"type": "object"}});
        let body = json!({"model": "m", "max_tokens": 5, "tools": [{"type": kind, "name": "x"}, own], "tool_choice": {"type": "auto"}});
        let (sent, readied) = sent(ModelWire::Messages, &body);
        assert_eq!(
            (&sent["tools"], &sent["tool_choice"]),
            (&json!([own]), &json!({"type": "auto"})),
            "{kind}"
        );
        assert_eq!(readied.taken_out, [kind]);
    }
    let body = json!({"model": "m", "max_tokens": 5, "mcp_servers": [{"url": "https://a.example"}]});
    let (sent_mcp, readied) = sent(ModelWire::Messages, &body);
    assert_eq!((sent_mcp.get("mcp_servers"), readied.taken_out), (None, vec!["mcp_servers".to_owned()]));

    let functions = json!([{"name": "read"}]);
    for key in ["googleSearch", "google_search", "urlContext", "code_execution"] {
        let body = json!({"tools": [{key: {}}, {"functionDeclarations": functions, key: {}}]});
        let (sent, readied) = sent(ModelWire::Gemini, &body);
        assert_eq!(sent["tools"], json!([{"functionDeclarations": functions}]), "{key}");
        assert_eq!(readied.taken_out.len(), 2);
    }
    let (sent_chat, _) =
        sent(ModelWire::Chat, &json!({"model": "m", "web_search_options": {}, "tools": [own]}));
    assert_eq!((sent_chat.get("web_search_options"), &sent_chat["tools"]), (None, &json!([own])));
}

#[test]
fn a_dearer_speed_does_not_go_on() {
    for (wire, key, how, stays) in [
        (ModelWire::Messages, "speed", "fast", false),
        (ModelWire::Responses, "service_tier", "priority", false),
        (ModelWire::Chat, "service_tier", "flex", true),
    ] {
        let (sent, readied) = sent(wire, &json!({"model": "m", key: how}));
        assert_eq!((sent.get(key).is_some(), readied.taken_out.is_empty()), (stays, stays), "{how}");
    }
}

#[test]
fn what_has_no_bound_is_refused_with_words() {
    for (wire, body, word) in [
        (
            ModelWire::Responses,
            json!({"model": "m", "previous_response_id": "resp_1"}),
            "previous_response_id",
        ),
        (ModelWire::Responses, json!({"model": "m", "conversation": "c"}), "conversation"),
        (ModelWire::Responses, json!({"model": "m", "prompt": {"id": "p"}}), "prompt"),
        (ModelWire::Responses, json!({"model": "m", "background": true}), "background"),
        (ModelWire::Chat, json!({"model": "m", "models": ["a", "b"]}), "models"),
        (ModelWire::Gemini, json!({"cachedContent": "cachedContents/1"}), "cachedContent"),
        (ModelWire::Gemini, json!({"cached_content": "cachedContents/1"}), "cachedContent"),
        (ModelWire::Messages, json!({"messages": []}), "model"),
        (ModelWire::Messages, json!({"model": "m".repeat(201)}), "201 bytes"),
        (
            ModelWire::Messages,
            json!({"model": "m", "messages": [{"content": [{"source": {"type": "url", "url": "https://a.example"}}]}]}),
            "send the content itself",
        ),
        (ModelWire::Chat, json!({"model": "m", "n": 2}), "2 answers (`n`)"),
        (ModelWire::Gemini, json!({"generationConfig": {"candidateCount": 8}}), "8 answers"),
        (ModelWire::Chat, json!({"model": "m", "modalities": ["text", "audio"]}), "modalities"),
        (
            ModelWire::Gemini,
            json!({"generationConfig": {"responseModalities": ["IMAGE"]}}),
            "responseModalities",
        ),
        (ModelWire::Chat, json!([1]), "an object"),
        (ModelWire::Chat, json!({"model": "m", "Max_Tokens": 1}), "spells"),
        (ModelWire::Gemini, json!({"GenerationConfig": {"maxOutputTokens": 1}}), "spells"),
    ] {
        let error = read(wire, &body).unwrap_err();
        assert!(error.contains(word), "{body}: {error}");
    }
    for bad in [&b"{\"model\":\"m\xff\"}"[..], b"", b"{", br#"{"model":"a","model":"b"}"#] {
        assert!(reader(ModelWire::Messages).read(bad, None).is_err());
    }
    let deep = format!("{{\"model\":\"m\",\"messages\":{}{}}}", "[".repeat(5000), "]".repeat(5000));
    assert!(reader(ModelWire::Messages).read(deep.as_bytes(), None).is_err(), "and nothing breaks");
}

#[test]
fn more_is_never_held_for_less() {
    for wire in ALL {
        let key = match wire {
            ModelWire::Responses => "input",
            ModelWire::Gemini => "contents",
            _ => "messages",
        };
        let mut last = 0;
        for count in [0, 1, 10, 100] {
            let texts = vec![json!({"role": "user", "content": "some words of a question"}); count];
            let input = read(wire, &json!({"model": "m", key: texts})).unwrap().input;
            assert!(input > last, "{wire:?} {count}");
            last = input;
        }
    }
}
