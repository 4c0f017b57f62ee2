"""How results look. One line here is all a new report needs."""

from __future__ import annotations

from manifestd.plugins import Family
from manifestd.reports.base import Report

REPORTS: Family[Report] = Family(
    "reports",
    {
        "text": "manifestd.reports.text:TextReport",
        "json": "manifestd.reports.json:JsonReport",
        "markdown": "manifestd.reports.markdown:MarkdownReport",
        "html": "manifestd.reports.html:HtmlReport",
        "junit": "manifestd.reports.junit:JunitReport",
        "sarif": "manifestd.reports.sarif:SarifReport",
        "csv": "manifestd.reports.csv:CsvReport",
    },
)
