#!/usr/bin/env python3
"""Writes target/notices/THIRD-PARTY.txt (and .gz): the licences of what is linked into the programs, each text once.

They let a program be published with their notices beside it; archives and packages bring this file.
"""
import gzip
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGETS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-apple-darwin", "aarch64-apple-darwin"]
NAMES = ("license", "licence", "copying", "notice", "unlicense", "copyright")


def linked(target):
    """Packages (name, version) that `target` links: no tests, no build scripts, no macros' own helpers alone."""
    tree = ["cargo", "tree", "--locked", "--edges=normal", "--prefix=none", "--format={p}", "--target", target]
    lines = subprocess.run(tree, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    words = (line.split() for line in lines if line.strip() and "(proc-macro)" not in line)
    return {(word[0], word[1].removeprefix("v")) for word in words}


def texts(package):
    """Licence and notice files of a package, beside its manifest and in `licenses`."""
    folder = pathlib.Path(package["manifest_path"]).parent
    found = [file for place in (folder, folder / "LICENSES", folder / "licenses") if place.is_dir()
             for file in sorted(place.iterdir()) if file.is_file()]
    return [file.read_text(errors="replace").strip() for file in found
            if file.name.lower().startswith(NAMES) or file.parent != folder]


def main():
    wanted = set().union(*map(linked, TARGETS))
    metadata = ["cargo", "metadata", "--locked", "--format-version=1"]
    packages = json.loads(subprocess.run(metadata, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)["packages"]
    packages = [one for one in packages if (one["name"], one["version"]) in wanted and one["source"]]
    by_text, bare = {}, []
    for one in sorted(packages, key=lambda one: (one["name"], one["version"])):
        name = f"{one['name']} {one['version']} ({one['license']})"
        found = texts(one)
        if not found:
            bare.append(f"{name}, by {', '.join(one['authors']) or 'its authors'}")
        for text in found:
            by_text.setdefault(text, []).append(name)
    out = ROOT / "target/notices/THIRD-PARTY.txt"
    out.parent.mkdir(parents=True, exist_ok=True)
    rule = "=" * 100
    with out.open("w") as file:
        file.write("bgagent is licensed under MIT OR Apache-2.0. Its programs contain these crates.\n")
        for text, names in by_text.items():
            file.write(f"\n{rule}\n{chr(10).join(names)}\n{rule}\n\n{text}\n")
        if bare:
            file.write(f"\n{rule}\nWithout a text of their own; the licence is the one named\n{rule}\n\n")
            file.write("\n".join(bare) + "\n")
    out.with_suffix(".txt.gz").write_bytes(gzip.compress(out.read_bytes(), mtime=0))
    print(f"{out.relative_to(ROOT)}: {len(packages)} crates, {len(by_text)} texts, {len(bare)} without", file=sys.stderr)


if __name__ == "__main__":
    main()
