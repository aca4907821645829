"""The runner of the pages finds what a page gets wrong."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from console import Command, commands, run

PAGE = """\
# A page

```console
$ not run
```

<!-- hidden: touch here -->

<!-- run -->
```console
$ printf 'a  1s\\nb\\nc\\n'
a …s
...
c
$ cat <<END
> x
> END
x
```
"""


def test_marked_blocks_are_run_in_order(tmp_path: Path) -> None:
    found = commands(PAGE)
    assert [c.text for c in found] == ["touch here", "printf 'a  1s\\nb\\nc\\n'", "cat <<END\nx\nEND"]
    for command in found:
        run(command, os.environ, tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        Command(1, "echo b", ("a",)),
        Command(1, "echo a; echo b", ("a",)),
        Command(1, "echo a; false", ("a",)),
        Command(1, "false", ()),
    ],
)
def test_different_output_or_a_failure_is_reported(command: Command, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="line 1"):
        run(command, os.environ, tmp_path)
