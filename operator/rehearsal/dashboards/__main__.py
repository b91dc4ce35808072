"""`python -m rehearsal.dashboards`: write the dashboards' JSON into the chart."""

from rehearsal.dashboards.files import FOLDER, files

for name, text in files().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
    print(f"wrote {FOLDER / name}")
