#!/usr/bin/env bash
# Runs an agent with two tools against a real model behind any OpenAI-compatible endpoint, and shows what
# it did. Succeeds only if the model called a tool and gave an answer.
#
#   tests/real_model.sh URL MODEL     for example http://127.0.0.1:8080/v1 qwen2.5-coder-1.5b-instruct
#
# BGAGENT: the program, default target/release/bgagent. API_KEY: sent if it is set.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,8p' "$0"; exit 2; }
program=$(realpath "${BGAGENT:-$(dirname "$0")/../target/release/bgagent}")
folder=$(mktemp -d)
key=; [ -z "${API_KEY:-}" ] || key='api_key = { env = "API_KEY" }'
cat >"$folder/agents.toml" <<TOML
[models.real]
provider = "openai-compatible"
model = "$2"
base_url = "$1"
request_timeout = "120s"
max_output_tokens = 300
temperature = 0.0
$key

[tools.machine]
type = "shell"
commands = { disk = { exec = "/bin/df", args = ["-h", "--output=pcent,target", "{path:path}"], under = ["/"], read = true, description = "how full the disk of a path is" } }

[agents.doctor]
query = "Step 1: call the function machine with command disk and params path /. Step 2: call remember with the key disk and a text that says how full the disk is. Step 3: answer in one plain sentence how full the disk is."
model = "real"
tools = ["machine", "remember"]
TOML
options=(--config "$folder/agents.toml" --state-dir "$folder/state" --socket "$folder/s")
run() { "$program" "${options[@]}" "$@"; }
BGAGENT_LOG=warn "$program" "${options[@]}" daemon & daemon=$!
trap 'kill $daemon 2>/dev/null || true; wait $daemon 2>/dev/null || true; rm -rf "$folder"' EXIT
until run status >/dev/null 2>&1; do kill -0 $daemon; sleep 0.05; done
id=$(run run doctor)
until run show "$id" --json | grep -q '"finished_at": *"'; do sleep 0.2; done
run show "$id"
run usage
run show "$id" --json >"$folder/run.json"
grep -q '"status": *"completed"' "$folder/run.json" && grep -q '"step": *"called"' "$folder/run.json"
