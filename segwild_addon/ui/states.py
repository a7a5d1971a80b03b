"""The state of the backend and of its job into words, a bar and buttons, as a panel shows them."""

from __future__ import annotations

from dataclasses import dataclass

from ..client.course import Course, duration
from ..client.status import Status

Button = tuple[str, str, str]  # operator, text, icon

START: Button = ("segwild.start_backend", "Start", "PLAY")
STOP: Button = ("segwild.stop_backend", "Stop", "SNAP_FACE")
RESTART: Button = ("segwild.restart_backend", "Restart", "FILE_REFRESH")
LOG: Button = ("segwild.open_log", "Open Log", "TEXT")
INSTALL: Button = ("segwild.install_backend", "Install…", "IMPORT")
USE: Button = ("segwild.use_python", "Use Existing Python…", "FILEBROWSER")
CONNECT: Button = ("segwild.connect_backend", "Connect to Another Machine…", "URL")
PREFERENCES: Button = ("segwild.open_preferences", "Open Preferences", "PREFERENCES")
COPY: Button = ("segwild.copy_report", "Copy Report", "COPYDOWN")
CANCEL_INSTALL: Button = ("segwild.cancel_install", "Cancel", "X")
CANCEL_JOB: Button = ("segwild.cancel_job", "Cancel", "X")

ALONE = "Viewing, light, objects and export work without it."
VERBS = {
    "run": "Making the scene",
    "capture": "Finding cameras",
    "train": "Training",
    "lift": "Preparing selection",
    "embed": "Preparing selection",
    "export": "Exporting",
    "render": "Rendering",
}

# What a failure of the environment is called, and the button that installs, where it is no failed installation.
FAILURES = {
    "wrong-version": ("Versions Do Not Match", "Update…"),
    "no-backend": ("No SegWild in This Python", "Install…"),
    "no-python": ("This Python Does Not Work", "Install…"),
}

# Where the backend's advice is for its command line.
HINTS = {"objects-exist": "Dissolve all objects first, or make a new scene in another workspace."}


@dataclass(frozen=True)
class Shown:
    """What a panel draws, from top to bottom."""

    icon: str
    title: str
    lines: tuple[str, ...] = ()  # sentences; wrapped when drawn
    bar: float | None = None  # 0..1; None: no bar
    bar_text: str = ""
    buttons: tuple[Button, ...] = ()
    alert: bool = False


def backend(
    environment: Status,
    link: Status | None,
    *,
    online: bool,
    remote: bool,
    scene: bool = True,  # whether there is one, or photos for one
) -> Shown:
    """`environment`: which backend is installed. `link`: what the one of the present scene does; None: never begun.

    A backend on another machine needs no installation here.
    """
    if (link is not None and link.state != "stopped") or remote:
        return _linked(link, remote=remote)
    if environment.state == "installing":
        return _installing(environment)
    if environment.state == "failed":
        if environment.code == "online-off":
            return _online_off()
        lines = tuple(filter(None, (environment.sentence, environment.hint)))
        title, again = FAILURES.get(environment.code, ("Installation Failed", "Try Again…"))
        first = ("segwild.install_backend", again, "FILE_REFRESH")
        return Shown("ERROR", title, lines, buttons=(first, USE, LOG, COPY), alert=True)
    if environment.state == "absent":
        lines = (ALONE, "Training and clicking on objects need it.")
        cancelled = (environment.sentence, environment.hint) if "cancelled" in environment.sentence else ()
        if not online:
            return _online_off(*cancelled)
        lines = cancelled or lines
        return Shown("UNLINKED", "No Backend", lines, buttons=(INSTALL, USE, CONNECT))
    ending = link is not None and bool(link.sentence)
    if ending:
        return Shown("SORTTIME", "Ending…")
    if not scene:
        return Shown("PAUSE", "Ready", ("It starts for a scene: make one from photos, or import one.",))
    return Shown("PAUSE", "Stopped", (ALONE,), buttons=(START, CONNECT))


def _online_off(*first: str) -> Shown:
    lines = (
        *first,
        "Blender is not allowed to go online, so nothing can be downloaded.",
        "Allow Online Access in Preferences > System > Network, or install from a folder of wheels.",
    )
    install = ("segwild.install_backend", "Install from Folder…", "FILE_FOLDER")
    network = ("segwild.allow_online", "Open Preferences", "PREFERENCES")
    return Shown("INTERNET_OFFLINE", "No Backend", lines, buttons=(network, install, USE, CONNECT))


def _installing(status: Status) -> Shown:
    bar = status.done / status.total if status.total else 0.0
    # Steps are counted by ones, downloads by bytes.
    text = "" if not status.total or status.total < 1000 else f"{_size(status.done)} of {_size(status.total)}"
    return Shown("IMPORT", "Installing", (status.sentence,), min(1.0, bar), text, buttons=(CANCEL_INSTALL,))


def _linked(link: Status | None, *, remote: bool) -> Shown:
    state = link.state if link is not None else "stopped"
    end = ("segwild.stop_backend", "Disconnect", "UNLINKED") if remote else STOP
    lines = tuple(filter(None, (link.sentence, link.hint))) if link is not None else ()
    if state == "running":
        return Shown("LINKED", "Connected" if remote else "Running", buttons=(end,))
    if state == "starting":
        return Shown("SORTTIME", "Connecting…" if remote else "Starting…", lines, buttons=(end,))
    if state == "lost":
        wait = f"Trying again within {link.retry_secs:.0f} s." if link is not None and link.retry_secs else ""
        return Shown("ERROR", "Backend Lost", (*lines, *filter(None, (wait,))), buttons=(RESTART, end, LOG), alert=True)
    if state == "failed":
        if link is not None and link.code == "wrong-version":
            update = ("segwild.install_backend", "Update…", "FILE_REFRESH")
            return Shown("ERROR", "Versions Do Not Match", lines, buttons=(update, USE, end), alert=True)
        return Shown("ERROR", "Backend Failed", lines, buttons=(RESTART, end, LOG, COPY), alert=True)
    return Shown("PAUSE", "Stopped", (ALONE,), buttons=(START, CONNECT))


def job(course: Course | None) -> Shown | None:
    """The job that runs or ended last; None where there is none to speak of."""
    if course is None or course.verb not in VERBS:
        return None
    title = VERBS[course.verb]
    if course.state == "queued":
        return Shown("SORTTIME", title, ("Waiting for its turn.",), buttons=(CANCEL_JOB,))
    if course.state == "running":
        left = duration(course.eta_secs) if course.share != 1 else ""
        words = [course.phase or "Starting", f"about {left} left" if left else ""]
        return Shown(
            "RENDER_ANIMATION",
            title,
            tuple(filter(None, (course.note,))),
            bar=course.share or 0.0,
            bar_text=", ".join(filter(None, words)),
            buttons=(CANCEL_JOB,),
        )
    if course.state == "failed":
        error = course.error
        hint = HINTS.get(error.code, error.hint) if error is not None else ""
        lines = tuple(filter(None, (error.sentence, hint))) if error is not None else ("It failed.",)
        again = ("segwild.retry_job", "Try Again", "FILE_REFRESH")
        lines += ("What was finished before is kept: trying again goes on from there.",)
        return Shown("ERROR", f"{title}: Failed", lines, buttons=(again, LOG, COPY), alert=True)
    if course.state == "cancelled":
        again = ("segwild.retry_job", "Go On", "PLAY")
        return Shown("PAUSE", f"{title}: Cancelled", ("What was finished is kept.",), buttons=(again,))
    return Shown("CHECKMARK", f"{title}: Done")


def short(course: Course) -> str:
    """A job that is under way, in a few words."""
    left = duration(course.eta_secs)
    return f"{course.phase or VERBS.get(course.verb, 'Waiting')}{f', {left} left' if left else ''}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` characters, broken at spaces, and within words that are longer."""
    lines, line = [], ""
    for word in text.split():
        while len(word) > width:
            room = width - len(line) - bool(line)
            if room < width // 3:
                lines.append(line)
                line, room = "", width
            lines.append(f"{line} {word[:room]}".strip())
            line, word = "", word[room:]
        if len(line) + len(word) + bool(line) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return [each for each in [*lines, line] if each]
