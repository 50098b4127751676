# `nix build` and `nix run` by flake.nix at the root, or `pkgs.callPackage ./packaging/nix/package.nix { }`.
{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  commit ? "",
}:

rustPlatform.buildRustPackage {
  pname = "bgagent";
  version = (lib.importTOML ../../Cargo.toml).package.version;

  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;

  # What `bgagent --version` names: there is no git in the sandbox of a build.
  env.BGAGENT_COMMIT = commit;

  nativeBuildInputs = [ installShellFiles ];

  # They want PostgreSQL, Redis, a browser and namespaces of their own; `.ci/run` has them.
  doCheck = false;

  postInstall = ''
    installManPage man/*.1 man/*.5
    installShellCompletion --cmd bgagent \
      --bash completions/bgagent.bash --zsh completions/_bgagent --fish completions/bgagent.fish
    install -Dm644 -t $out/share/bgagent agents.example.toml agents.schema.json
  ''
  + lib.optionalString stdenv.hostPlatform.isLinux ''
    install -Dm644 packaging/systemd/bgagent.service $out/share/systemd/user/bgagent.service
    substituteInPlace $out/share/systemd/user/bgagent.service --replace-fail /usr/bin/bgagent $out/bin/bgagent
  '';

  meta = {
    description = "Runs autonomous agents on a schedule, unattended: right, cheap, safe, fast";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "bgagent";
    platforms = lib.platforms.linux ++ lib.platforms.darwin;
  };
}
