"""What Docker's daemon is asked for is this, to the word; and the image is the same bytes each time."""

from __future__ import annotations

import io
import tarfile

from sandbox import container_policy, launch, memory, policy, seccomp

RUN = policy.RunPolicy(
    interpreter="/opt/python/bin/python3.11",
    prefixes=("/opt/python",),
    runtime="/data/run/runtime-1",
    etc="/data/run/etc",
    dependencies="/data/envs/e1",
)
POLICY = container_policy.ContainerPolicy(
    run=RUN,
    image="sha256:1",
    enter="enter()",
    tree="microhost-0123456789ab",
    control="/data/run/control/s1",
    optional=("/etc/ssl/certs",),
    uid=210_001,
    memory_bytes=1 << 29,
    tmp_bytes=1 << 29,
    tasks=1024,
)


def test_a_container_runs_as_its_own_user_with_one_program() -> None:
    config = container_policy.container_config(POLICY)
    python = ["/opt/python/bin/python3.11", "-I", "-S", "-B"]
    assert config["User"] == "210001:210001"
    assert config["Image"] == "sha256:1"
    assert config["Labels"] == {"microhost.tree": "microhost-0123456789ab"}
    assert config["Entrypoint"] == [
        *python,
        "-c",
        "enter()",
        *python,
        "/runtime/python/boot.py",
    ]
    assert config["Env"] == [f"{name}={value}" for name, value in policy.ENVIRONMENT]
    assert config["NetworkDisabled"] is True


def test_a_container_has_every_guard_that_an_engine_knows() -> None:
    host = container_policy.container_config(POLICY)["HostConfig"]
    expected = {
        "Runtime": "runc",
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "IpcMode": "none",
        "CgroupnsMode": "private",
        "PidsLimit": 1024,
        "Memory": memory.hard_limit_bytes(1 << 29, 1 << 29),
        "OomScoreAdj": launch.OOM_SCORE_SANDBOX,
    }
    assert {name: host[name] for name in expected} == expected
    assert {"Name": "nofile", "Soft": 1024, "Hard": 8192} in host["Ulimits"]
    assert {"Name": "core", "Soft": 1, "Hard": 1} in host["Ulimits"]
    assert "CapAdd" not in host and "Privileged" not in host and "Devices" not in host
    assert set(host["Tmpfs"]) == {"/tmp", "/x"}
    assert all("nosuid,nodev" in options for options in host["Tmpfs"].values())


def test_all_of_the_machine_is_shown_read_only_and_outer_paths_first() -> None:
    mounts = container_policy.container_config(POLICY)["HostConfig"]["Mounts"]
    assert [(each["Source"], each["Target"]) for each in mounts] == [
        ("/usr", "/usr"),
        ("/data/run/etc", "/etc"),
        ("/etc/ssl/certs", "/etc/ssl/certs"),
        ("/opt/python", "/opt/python"),
        ("/data/run/runtime-1", "/runtime"),
        ("/data/envs/e1", "/dependencies"),
        ("/data/run/control/s1", "/control"),
    ]
    assert all(each["ReadOnly"] and each["Type"] == "bind" for each in mounts)


def test_the_filter_says_what_ours_says_but_for_one_call() -> None:
    profile = container_policy.seccomp_profile()
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    calls = profile["syscalls"]
    assert len(calls) == len([rule for rule in seccomp.rules() if rule.call != "unshare"]) + 1
    assert {"names": ["read"], "action": "SCMP_ACT_ALLOW"} in calls
    assert {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1} in calls
    (unshare,) = [each for each in calls if each["names"] == ["unshare"]]
    assert unshare["args"] == [{"index": 0, "value": 0x1000_0000, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]
    (clone,) = [each for each in calls if each["names"] == ["clone"]]
    assert clone["args"] == [{"index": 0, "value": 0x7E02_0000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]


def test_the_image_is_empty_places_and_the_same_bytes_each_time() -> None:
    archive = container_policy.image_archive()
    assert archive == container_policy.image_archive()
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        members = {each.name: each for each in opened.getmembers()}
    assert not any(each.isfile() for each in members.values())
    assert members["tmp"].mode == 0o1777
    assert members["micro"].mode == 0o755
    assert members["bin"].linkname == "usr/bin"
    assert members["node_modules"].linkname == "dependencies/node_modules"
    apart = container_policy.image_archive((("/bin", "/bin"),))
    assert container_policy.layer_of(apart) != container_policy.layer_of(archive)
