"""Results as Markdown: medians, and ours as a ratio to the best peer in each step."""

from statistics import median

from programs import STEPS

MB = 1e6
UNLOCKED = ["password", "key file"]
# Name, value of a row, how it is written, the steps in which it says something, whether how it is unlocked matters.
FIGURES = [
    ("wall s", lambda row: row["wall"], "{:.2f}", None, True),
    ("CPU s", lambda row: row["cpu"], "{:.2f}", None, True),
    ("peak RSS MiB", lambda row: row["rss_kib"] / 1024, "{:.0f}", None, True),
    ("peak anonymous MiB", lambda row: row["anonymous_kib"] / 1024, "{:.0f}", None, True),
    ("repository MB", lambda row: row["repository"] / MB, "{:.1f}", ["first", "changed", "forget-prune"], False),
    ("added MB", lambda row: row["added"] / MB, "{:.2f}", ["unchanged", "touched", "changed"], False),
]


def markdown(results):
    lines = [f"{results['machine']}; {results['date']}. Medians of {results['rounds']} rounds, memory the most of them.", ""]
    lines += [f"- {name}: {version}" for name, version in results["versions"].items()]
    for corpus, about in results["corpora"].items():
        rows = [row for row in results["rows"] if row["corpus"] == corpus]
        if rows:
            lines += ["", f"## {corpus}: {about['name']}, {about['files']:,} files, {about['bytes'] / MB:,.0f} MB", ""]
            lines += table(rows) + [""] + notes(rows)
    return "\n".join(lines)


def table(rows):
    programs = {row["program"]: row["unlocked_by"] for row in rows}
    groups = [[name for name, by in programs.items() if by == unlocked] for unlocked in UNLOCKED]
    heads = ["step", "figure"]
    for unlocked, group in zip(UNLOCKED, groups):
        heads += [*group, f"ours / best, {unlocked}"] if group else []
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for step, title in STEPS.items():
        for figure, value, form, steps, by_unlocking in FIGURES:
            if steps is not None and step not in steps:
                continue
            combine = max if figure.startswith("peak") else median
            found = {}
            for name in programs:
                values = [value(row) for row in rows if row["program"] == name and row["step"] == step and not row["code"]]
                if values:
                    found[name] = combine(values)
            if not found:
                continue
            cells = []
            for group in groups:
                peers = [name for name in (group if by_unlocking else programs) if not name.startswith("packstone")]
                cells += [form.format(found[name]) if name in found else "-" for name in group]
                cells += [ratio(found, [n for n in group if n.startswith("packstone")], peers)] if group else []
            lines.append(f"| {title} | {figure} | {' | '.join(cells)} |")
    return lines


def ratio(found, ours, peers):
    ours, peers = [n for n in ours if n in found], [n for n in peers if n in found]
    if not ours or not peers:
        return "-"
    best = min(peers, key=found.get)
    if not found[best]:
        return "-"
    return f"**{found[ours[0]] / found[best]:.2f}** ({best})"


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
