"""Runs the engines' tests: all files test_*.py of a folder here, and with --full matrix_*.py too.

    python run.py FOLDER [--full] [--only WORD]

Run by the engine's own Python, in an environment as tests/run.sh makes it. Each test is told with its seconds; the last line
is "N passed, N failed", and a failed one, or none at all, is exit status 1.
"""
from __future__ import annotations

import argparse
import faulthandler
import os
import signal
import sys
import time
import unittest
from typing import Any

LIMIT_SECONDS = {False: 1500, True: 4 * 3600}  # a run that takes longer hangs: all stacks are printed and it ends


class Result(unittest.TextTestResult):
    def startTest(self, test: unittest.TestCase) -> None:
        self.began = time.monotonic()
        unittest.TestResult.startTest(self, test)

    def _say(self, test: unittest.TestCase, verdict: str) -> None:
        self.stream.writeln(f"{verdict:6} {time.monotonic() - self.began:6.1f} s  {test.id()}")
        self.stream.flush()

    def addSuccess(self, test: Any) -> None:
        unittest.TestResult.addSuccess(self, test)
        self._say(test, "ok")

    def addError(self, test: Any, err: Any) -> None:
        unittest.TestResult.addError(self, test, err)
        self._say(test, "ERROR")

    def addFailure(self, test: Any, err: Any) -> None:
        unittest.TestResult.addFailure(self, test, err)
        self._say(test, "FAILED")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        unittest.TestResult.addSubTest(self, test, subtest, err)
        if err is not None:
            self._say(subtest, "FAILED")


def chosen(suite: unittest.TestSuite, word: str) -> unittest.TestSuite:
    """The tests whose names contain the word."""
    picked = unittest.TestSuite()
    for part in suite:
        if isinstance(part, unittest.TestSuite):
            picked.addTest(chosen(part, word))
        elif word in part.id():
            picked.addTest(part)
    return picked


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    faulthandler.dump_traceback_later(LIMIT_SECONDS[options.full], exit=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of atexit, which ends engines and nodes
    os.environ["KVASIR_ENGINES"] = "full" if options.full else "subset"
    folder = os.path.abspath(options.folder)
    suite = unittest.TestSuite()
    for pattern in ["test_*.py"] + (["matrix_*.py"] if options.full else []):
        suite.addTest(unittest.TestLoader().discover(folder, pattern))
    result = unittest.TextTestRunner(sys.stdout, resultclass=Result).run(chosen(suite, options.only))
    # What is skipped did not pass: this machine cannot run it, or it is not asked for.
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed - len(result.skipped)
    for test, why in result.skipped:
        print(f"skipped: {test.id()}: {why}")
    if result.testsRun == 0:
        print("there are no tests")
        failed = 1
    print(f"{max(passed, 0)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
