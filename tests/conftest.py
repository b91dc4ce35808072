"""What tests measured, told at the end of a run: captured output of those that pass is seen by nobody."""

from _pytest.terminal import TerminalReporter

PREFIXES = ("faults: ", "high availability: ", "image: ")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    reports = [each for group in terminalreporter.stats.values() for each in group if hasattr(each, "capstdout")]
    lines = dict.fromkeys(
        line for report in reports for line in report.capstdout.splitlines() if line.startswith(PREFIXES)
    )
    if lines:
        terminalreporter.section("measured")
        for line in lines:
            terminalreporter.write_line(line)
