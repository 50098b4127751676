complete --keep-order --exclusive --command bgagent --arguments "(COMPLETE=fish bgagent -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
