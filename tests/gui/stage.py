"""Runs on the virtual screen: starts Blender there, and moves mouse and keys for a test that runs elsewhere.

Standard library only, since the screen may belong to another system than the tests. One JSON object a line:

    in   {"start": [ARGUMENT, ...]}   start blender with these arguments
         {"x": [WORD, ...]}           run xdotool with these words
         {"shot": FILE}               a picture of the screen, as PNG
         {"tell": OBJECT}             a line for the script inside Blender
         {"end": true}                end Blender
    out  {"done": true} or {"failed": SENTENCE} after each, {"said": OBJECT} for a line of the script's, and
         {"gone": STATUS} when Blender has ended
"""

import contextlib
import json
import os
import subprocess
import sys
import threading

MARK = "SEGWILD "
lock = threading.Lock()


def say(**message):
    with lock:
        print(json.dumps(message), flush=True)


def relay(blender, log):
    """What the script inside prints goes out, everything else into the log."""
    with open(log, "w", encoding="utf-8", errors="replace") as file:
        for line in blender.stdout:
            if line.startswith(MARK):
                say(said=json.loads(line[len(MARK) :]))
            else:
                file.write(line)
                file.flush()
    say(gone=blender.wait())


def run(words, **options):
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed: {done.stderr.strip()[-300:]}")


def shot(file):
    run(["xwd", "-root", "-silent", "-out", file + ".xwd"])
    run(["convert", f"xwd:{file}.xwd", file])
    os.unlink(file + ".xwd")


def end(blender):
    if blender is not None and blender.poll() is None:
        blender.terminate()
        try:
            blender.wait(15)
        except subprocess.TimeoutExpired:
            blender.kill()


def main():
    blender = None
    say(ready=True)
    try:
        for line in sys.stdin:
            order = json.loads(line)
            try:
                if "start" in order:
                    blender = subprocess.Popen(
                        ["blender", *order["start"]],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                        errors="replace",
                        env={**os.environ, **order.get("env", {})},
                    )
                    threading.Thread(target=relay, args=(blender, order["log"]), daemon=True).start()
                elif "x" in order:
                    run(["xdotool", *order["x"]])
                elif "shot" in order:
                    shot(order["shot"])
                elif "tell" in order:
                    blender.stdin.write(json.dumps(order["tell"]) + "\n")
                    blender.stdin.flush()
                elif "end" in order:
                    end(blender)
            except Exception as error:  # told to the test, which decides
                say(failed=f"{type(error).__name__}: {error}")
            else:
                say(done=True)
    finally:
        with contextlib.suppress(Exception):
            end(blender)


if __name__ == "__main__":
    main()
