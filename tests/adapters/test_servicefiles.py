"""Files are written when they change, whole or not at all, and what is ours is removed when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avalanche.adapters.servicefiles import differences, publish, read_keys, read_local, read_templates
from avalanche.errors import ConfigError
from tests.smalldisk import SmallDisk

contents = st.dictionaries(st.sampled_from(("main", "hosts/a", "hosts/b", "hosts/c")), st.sampled_from(("x\n", "y\n")))


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@given(before=contents, after=contents)
def test_a_folder_becomes_what_it_should_be(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, str], after: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    publish(folder, before, owned=("hosts",))
    told = differences(folder, after, owned=("hosts",))
    done = publish(folder, after, owned=("hosts",))
    assert done == told
    # What is not in a folder of ours alone stays: somebody else may have put it there.
    assert content(folder) == {**{path: text for path, text in before.items() if path == "main"}, **after}
    assert set(done.written) == {path for path, text in after.items() if before.get(path) != text}
    assert set(done.removed) == {path for path in before if path not in after and path != "main"}
    assert not publish(folder, after, owned=("hosts",))


@given(before=contents, after=contents)
def test_what_we_know_to_be_there_is_not_read_again(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, str], after: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("files")
    publish(folder, before, owned=("hosts",))
    told = differences(folder, after, owned=("hosts",))
    for path in folder.rglob("hosts/*"):
        path.write_text("nobody looks")  # nor would it be read: another text would make another answer
    assert publish(folder, after, owned=("hosts",), known=before) == told


def test_a_file_that_somebody_removed_is_written_again_whatever_we_know(tmp_path: Path) -> None:
    files = {"main": "x", "hosts/a": "y"}
    publish(tmp_path, files, owned=("hosts",))
    (tmp_path / "hosts/a").unlink()
    assert publish(tmp_path, files, owned=("hosts",), known=files).written == ("hosts/a",)


def test_what_did_not_change_is_not_touched(tmp_path: Path) -> None:
    publish(tmp_path, {"hosts/a": "x"}, owned=("hosts",))
    before = (tmp_path / "hosts/a").stat()
    publish(tmp_path, {"hosts/a": "x", "hosts/b": "y"}, owned=("hosts",))
    after = (tmp_path / "hosts/a").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_services_may_read_what_is_written(tmp_path: Path) -> None:
    publish(tmp_path, {"main": "x", "hosts/a": "y"}, owned=("hosts",))
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "main", tmp_path / "hosts/a")} == {0o644}


def test_a_later_folder_s_template_wins(tmp_path: Path) -> None:
    for name in ("roll", "site"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hosts.j2").write_text(name)
    found = read_templates([tmp_path / "none", tmp_path / "roll", tmp_path / "site"], ("hosts",))
    assert found["hosts"].text == "site"
    assert found["hosts"].file == str(tmp_path / "site" / "hosts.j2")


def test_a_template_that_nothing_uses_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "hots.j2").write_text("")
    with pytest.raises(ConfigError, match=r"hots.j2: no report has a template of this name; there are: dhcpd, hosts"):
        read_templates([tmp_path], ("dhcpd", "hosts"))


def test_keys_are_read_as_hosts_have_them(tmp_path: Path) -> None:
    key = "AAAAC3NzaC1lZDI1NTE5AAAA"
    (tmp_path / "a.pub").write_text(f"ssh-ed25519 {key} root@a\n\n# more\na ssh-rsa {key}==\nssh-ed25519 {key}\n")
    assert read_keys(tmp_path) == {"a": (f"ssh-ed25519 {key}", f"ssh-rsa {key}==")}
    (tmp_path / "a.pub").write_text("ssh-ed25519 ???\n")
    with pytest.raises(ConfigError, match=r"a.pub:1: not a public SSH key; copy it from"):
        read_keys(tmp_path)
    assert read_keys(tmp_path / "none") == {}


def test_what_a_site_adds_need_not_exist(tmp_path: Path) -> None:
    assert read_local(tmp_path / "hosts.local") == ""
    (tmp_path / "hosts.local").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"hosts.local: cannot be read"):
        read_local(tmp_path / "hosts.local")


@pytest.mark.parametrize("leave", [0, 40_000])
def test_on_a_full_disk_every_file_is_the_old_or_the_new_one_and_the_next_call_does_the_rest(
    small_disk: SmallDisk, leave: int
) -> None:
    folder = small_disk.root / "files"
    text = "x" * 5000
    before = {"main": text, **{f"hosts/{number}": f"{number} {text}" for number in range(40)}}
    after = {"main": text * 2, **{f"hosts/{number}": f"new {number} {text}" for number in range(1, 50)}}
    publish(folder, before, owned=("hosts",))
    with small_disk.full(leave=leave):
        (folder / "hosts" / "0").write_text(before["hosts/0"])
        with pytest.raises(OSError, match="No space left on device") as caught:
            publish(folder, after, owned=("hosts",))
        # What is wrong is said of a file that whoever reads the message knows.
        assert Path(caught.value.filename).relative_to(folder).as_posix() in after
        found = content(folder)
        assert "hosts/0" not in found  # what is gone goes all the same: on some disks that makes the room
        assert set(found) <= set(before) | set(after)
        assert all(found[path] in (before.get(path), after.get(path)) for path in found)
        assert set(before) - {"hosts/0"} <= set(found)
    publish(folder, after, owned=("hosts",))
    assert content(folder) == after
