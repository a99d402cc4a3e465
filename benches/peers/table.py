"""Results as Markdown: medians, and ours as a ratio to the best peer in each step."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from programs import BACKUPS, STEPS

MB = 1e6
UNLOCKED = ["password", "key file"]


@dataclass
class Figure:
    """What is told of a row, how it is written, the steps in which it says something, whether unlocking matters to it."""

    name: str
    value: Callable
    form: str
    steps: list | None = None
    by_unlocking: bool = True


FIGURES = [
    Figure("wall s", lambda row: row["wall"], "{:.2f}"),
    Figure("CPU s", lambda row: row["cpu"], "{:.2f}"),
    Figure("peak RSS MiB", lambda row: row["rss_kib"] / 1024, "{:.0f}"),
    Figure("peak anonymous MiB", lambda row: row["anonymous_kib"] / 1024, "{:.0f}"),
    Figure("repository MB", lambda row: row["repository"] / MB, "{:.1f}", ["first", "changed", "forget-prune"], False),
    Figure("added MB", lambda row: row["added"] / MB, "{:.2f}", [*BACKUPS], False),
]


def markdown(results, short=False):
    lines = [f"{results['machine']}; {results['date']}. Medians of {results['rounds']} rounds, memory the most of them.", ""]
    lines += [f"- {name}: {version}" for name, version in results["versions"].items()]
    for corpus, about in results["corpora"].items():
        rows = [row for row in results["rows"] if row["corpus"] == corpus]
        if rows:
            lines += ["", f"## {corpus}: {about['name']}, {about['files']:,} files, {about['bytes'] / MB:,.0f} MB", ""]
            lines += (short_table(rows) if short else table(rows)) + [""] + notes(rows)
    return "\n".join(lines)


def table(rows):
    """A line for each step and figure."""
    groups = grouped(rows)
    heads = ["step", "figure"]
    for unlocked, group in groups.items():
        heads += [*group, f"ours / best, {unlocked}"]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for step, title in STEPS.items():
        for figure in FIGURES:
            found = combined(rows, step, figure)
            if found:
                cells = [cell for group in groups.values() for cell in [
                    *(figure.form.format(found[name]) if name in found else "-" for name in group), ratio(found, group, groups, figure)]]
                lines.append(f"| {title} | {figure.name} | {' | '.join(cells)} |")
    return lines


def short_table(rows):
    """A line for each step: wall / CPU seconds / MB added, then peak anonymous memory of ours, and the ratios."""
    groups = grouped(rows)
    wall, cpu, _, memory, _, added = FIGURES
    heads = ["step (wall s / CPU s / MB added)"]
    for unlocked, group in groups.items():
        heads += [*group, f"ours / best, {unlocked}"]
    lines = [f"| {' | '.join(heads)} | our memory MiB |", "|---|" + "---:|" * len(heads)]
    for step, title in STEPS.items():
        figures = [figure for figure in (wall, cpu, added) if combined(rows, step, figure)]
        found = [combined(rows, step, figure) for figure in figures]
        if not found:
            continue
        cells = []
        for group in groups.values():
            for name in group:
                cells.append(" / ".join(f.form.format(v[name]) for f, v in zip(figures, found) if name in v) or "-")
            cells.append(" / ".join(ratio(v, group, groups, f).split(" ")[0] for f, v in zip(figures, found)))
        ours = [value for name, value in combined(rows, step, memory).items() if is_ours(name)]
        lines.append(f"| {title} | {' | '.join(cells)} | {max(ours):.0f} |" if ours else f"| {title} | {' | '.join(cells)} | - |")
    return lines


def grouped(rows):
    """Names of programs by how they unlock a repository."""
    programs = {row["program"]: row["unlocked_by"] for row in rows}
    groups = {unlocked: sorted((name for name, by in programs.items() if by == unlocked), key=lambda name: (not is_ours(name), name))
              for unlocked in UNLOCKED}
    return {unlocked: group for unlocked, group in groups.items() if group}


def combined(rows, step, figure):
    """The figure of each program in a step, over all rounds."""
    found = {}
    if figure.steps is None or step in figure.steps:
        for row in rows:
            if row["step"] == step and not row["code"]:
                found.setdefault(row["program"], []).append(figure.value(row))
    return {name: (max if figure.name.startswith("peak") else median)(values) for name, values in found.items()}


def is_ours(name):
    return name.startswith("packstone")


def ratio(found, group, groups, figure):
    """Ours by the best peer's: of those that unlock the repository the same way, if that matters."""
    ours = next((found[name] for name in group if is_ours(name) and name in found), None)
    peers = group if figure.by_unlocking else [name for group in groups.values() for name in group]
    peers = [name for name in peers if name in found and not is_ours(name)]
    best = min(peers, key=found.get, default=None)
    if ours is None or best is None or not found[best]:
        return "-"
    return f"**{ours / found[best]:.2f}** ({best})"


def notes(rows):
    """What else there is to say: restores that differ, steps that failed, how busy the machine was."""
    lines, restores = [], [row for row in rows if row["step"] == "restore" and not row["code"] and "differences" in row]
    equal = sorted({row["program"] for row in restores if not row["differences"] and not row.get("rsync")})
    lines.append(f"Restores equal in content and all metadata: {', '.join(equal) or 'none'}.")
    for row in {row["program"]: row for row in restores if row["differences"] or row.get("rsync")}.values():
        differs = "; ".join(f"{what}: {text}" for what, text in row["differences"].items()) or "; ".join(row["rsync"][:3])
        lines.append(f"Restored otherwise than it was by {row['program']}: {differs}.")
    for program, step, code in sorted({(row["program"], STEPS[row["step"]], row["code"]) for row in rows if row["code"]}):
        lines.append(f"Failed: {program}, {step}, exit {code}.")
    shares = [row["foreign"] for row in rows]
    lines.append(f"Processors taken by others meanwhile: median {median(shares):.0%}, most {max(shares):.0%}.")
    return lines
