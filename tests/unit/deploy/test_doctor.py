"""What this host gives: the findings, and what a missing feature does to the exit status."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from deploy import host_checks
from deploy.cli import main
from deploy.host_checks import findings


def test_every_feature_is_tried_and_explained() -> None:
    found = {finding.feature: finding for finding in findings()}
    assert found["python"].found
    assert found["memfd"].found
    assert all(finding.purpose for finding in found.values())
    assert {"hw._ram", "seccomp filter", "pidfd", "futex", "open files"} <= {
        name for name, finding in found.items() if finding.required
    }


def test_each_layer_of_the_sandbox_is_explained() -> None:
    found = {finding.feature: finding for finding in findings()}
    layers = ("seccomp filter", "landlock", "namespaces", "pid namespace", "limits", "capabilities", "not dumpable")
    layers += ("no_new_privs", "control group")
    assert all(found[layer].purpose.startswith("stops ") for layer in layers)
    assert found["namespaces"].detail.startswith(("user, net", "refused: "))


def test_a_missing_required_feature_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> tuple[bool, str]:
        raise OSError(1, "Operation not permitted")

    probe = host_checks._Probe("pidfd", True, "deaths", refuse)
    optional = host_checks._Probe("kvm", False, "machines", refuse)
    monkeypatch.setattr(host_checks, "_PROBES", (probe, optional))
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 1
    assert "required and missing: pidfd\n" in result.stdout
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert told["ok"] is False
    assert told["result"][0]["detail"] == "[Errno 1] Operation not permitted"
    monkeypatch.setattr(host_checks, "_PROBES", (optional,))
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 0


@pytest.mark.parametrize(
    ("call", "feature"),
    [
        ("pidfd_send_signal", "pidfd"),
        ("close_range", "close_range"),
        ("timerfd_create", "timerfd"),
        ("fallocate", "memfd holes"),
    ],
)
def test_a_call_without_which_no_system_starts_is_missed(call: str, feature: str) -> None:
    doctor = (sys.executable, "-m", "deploy.cli", "doctor", "--json")
    command = (sys.executable, "-m", "tests.unit.deploy.without_call", call, *doctor)
    found = subprocess.run(command, capture_output=True, check=False)
    told = json.loads(found.stdout)
    assert (found.returncode, told["ok"]) == (1, False)
    lacking = [finding.feature for finding in findings() if finding.required and not finding.found]  # here, anyway
    missed = [each["feature"] for each in told["result"] if each["required"] and not each["found"]]
    assert [each for each in missed if each not in lacking] == [feature]
