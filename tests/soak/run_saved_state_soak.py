"""Runs saved_state_soak on a guest's image and compares what the guest printed with the guest's description.

    run_saved_state_soak.py PROGRAM IMAGE DESCRIPTION.json...

Every expression under "serial" has to match a line, none under "forbidden" may. Ends with 77 (skipped) when the image
has not been made.
"""
import json
import pathlib
import re
import subprocess
import sys

LEAST_ROUNDS = 20


def main():
    program, image, *descriptions = sys.argv[1:]
    if not pathlib.Path(image).exists():
        print(f"{image}: not there; tests/guests/make-guests.sh makes it")
        return 77
    wanted, forbidden = [], []
    for description in descriptions:
        content = json.loads(pathlib.Path(description).read_text())
        wanted += content.get("serial", [])
        forbidden += content.get("forbidden", [])
    run = subprocess.run([program, image], capture_output=True, timeout=1200)
    lines = run.stdout.decode("utf-8", "replace").replace("\r", "").split("\n")
    notes = run.stderr.decode("utf-8", "replace")
    print("\n".join(lines), notes, sep="\n")
    problems = []
    if run.returncode != 0:
        problems.append(f"exit status {run.returncode}")
    problems += [f"missing: {each}" for each in wanted if not any(re.search(each, line) for line in lines)]
    problems += [f"forbidden: {line}" for each in forbidden for line in lines if re.search(each, line)]
    rounds = re.search(r"soak: (\d+) rounds", notes)
    if not rounds or int(rounds.group(1)) < LEAST_ROUNDS:
        problems.append(f"fewer than {LEAST_ROUNDS} rounds")
    for problem in problems:
        print("PROBLEM", problem)
    return 1 if problems else 0


sys.exit(main())
