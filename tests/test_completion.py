"""`mrcnn --print-completion`: what bash proposes with it, and what is said without shtab."""

import shutil
import subprocess
import sys

import pytest

from mrcnn.cli import main

# As bash calls a completion function: the command, the word so far, and the one before it.
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
read -r _ function < <(complete -p mrcnn | sed 's/.*\\(-F \\S*\\).*/\\1/')
$function mrcnn "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_what_bash_proposes(tmp_path, capsys):
    pytest.importorskip("shtab")
    assert main(["--print-completion", "bash"]) == 0
    script = tmp_path / "mrcnn"
    script.write_text(capsys.readouterr().out)

    def proposed(*words):
        command = ["bash", "-c", ASK, "bash", script, "mrcnn", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert proposed("in") == ["inspect"]
    assert {"check", "show", "convert"} <= set(proposed("data", ""))
    assert "--learning-rate" in proposed("train", "--l")
    assert "standard" in proposed("train", "--augment", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(shell, capsys):
    pytest.importorskip("shtab")
    assert main(["--print-completion", shell]) == 0
    assert "inspect" in capsys.readouterr().out


def test_without_shtab(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["--print-completion", "bash"]) == 2
    assert "--print-completion needs shtab: pip install" in capsys.readouterr().err
