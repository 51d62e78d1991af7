"""A place of backups on S3: taken, cut off, taken again, read back, restored."""

from __future__ import annotations

from dataclasses import replace

import pytest
from backup_platform import Platform
from s3_server import S3, CutProxy

from learnloop.backup import taking
from learnloop.backup.checking import verify
from learnloop.backup.opening import place_of
from learnloop.backup.place import Place
from learnloop.backup.restoring import restore
from learnloop.backup.retention import prune
from learnloop.backup.sealing import sealer_of
from learnloop.datasets.remotes import open_remote
from learnloop.errors import Unavailable


def place_on(s3: S3, platform: Platform) -> Place:
    remote = open_remote(s3.address, s3.options)
    return Place(remote, sealer_of(platform.settings.backup_key_file), platform.settings.store / "tmp")


def test_a_backup_that_is_cut_off_is_none_and_goes_on_when_taken_again(platform, empty, s3):
    versions = platform.versions()
    proxy = CutProxy(int(s3.endpoint.rpartition(":")[2]), 60_000)
    with pytest.raises(Unavailable, match="does not answer"):
        taking.take(platform.settings, place_on(replace(s3, endpoint=proxy.endpoint), platform), owner="ana")
    place = place_on(s3, platform)
    assert place.names() == []
    began = len(place.all_pieces())
    head = taking.take(platform.settings, place, owner="ana")
    assert len(place.all_pieces()) > began
    assert not verify(place, head.name, platform.settings.store / "tmp", deep=True).problems
    platform.change(1)
    taking.take(platform.settings, place, owner="ana")
    assert prune(place, daily=1, weekly=0).removed == [head.name]
    platform_now = platform.versions()
    restore(empty, place)
    Platform(empty, platform.folder).assert_whole(platform_now)
    assert versions.items() < platform_now.items()


def test_keys_that_may_only_read_are_refused_and_that_is_said(platform, s3):
    with pytest.raises(Unavailable):
        taking.take(platform.settings, place_on(s3.reader(), platform), owner="ana")


def test_a_place_of_its_own_is_reached_by_an_endpoint_and_a_profile(platform, s3, tmp_path, monkeypatch):
    """Though the environment names another S3, with keys that are nobody's there: the store's."""
    key, secret = s3.keys
    credentials = tmp_path / "aws_credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = nobody\naws_secret_access_key = x\n"
        f"[backup]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    own = replace(
        platform.settings, backup_remote=s3.address, backup_endpoint=s3.endpoint, backup_profile="backup"
    )  # fmt: skip
    head = taking.take(own, place_of(own), owner="ana")
    assert not verify(place_of(own), head.name, own.store / "tmp", deep=True).problems
    others = replace(own, backup_endpoint="", backup_profile="")
    with pytest.raises(Unavailable):
        place_of(others).open(writing=True)
