"""What a student's process may not do, taken away from the process itself, by the kernel where it can.

On Linux: Landlock (files can be read in the folders of Python and its libraries only, nothing can be written), a
seccomp filter (no processes, threads, sockets, signals to others, changes of files' modes), no capabilities, and limits
of processor time, memory and file size. Audit hooks of Python stand before all of it: they give the messages. Where the
system is not Linux there is nothing but they and the limits, and someone who knows how can get around them.

Sources: Linux ``Documentation/userspace-api/landlock.rst`` and ``seccomp_filter.rst``; PEP 578.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

_READ_FILE, _READ_DIR, _WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_SYSTEM = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo",
           "/dev/urandom", "/dev/zero", "/dev/null")  # fmt: skip

# System calls that are refused: name -> number on x86-64 (None where it does not exist), number on AArch64.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "clone": (56, 220), "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "unshare": (272, 97), "setns": (308, 268), "setsid": (112, 157), "personality": (135, 92),
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "accept": (43, 202),
    "accept4": (288, 242), "listen": (50, 201), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "setrlimit": (160, 164), "setpriority": (141, 140), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118), "sched_setaffinity": (203, 122), "ioprio_set": (251, 30),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "mknod": (133, None), "mknodat": (259, 33), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "msgget": (68, 186), "msgsnd": (69, 189), "semget": (64, 190), "mq_open": (240, 180),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
}  # fmt: skip
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column of the table, AUDIT_ARCH_...
_OWN_ONLY = {"kill": (62, 129), "tgkill": (234, 131)}  # allowed to the process itself: abort() uses it
_PRLIMIT, _CLONE3 = (302, 261), (435, 435)

# Events of Python's audit hooks that are refused, by how they begin.
_REFUSED_EVENTS = (
    "socket.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "os.remove",
    "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.utime",
    "os.chflags", "os.setxattr", "os.removexattr", "shutil.", "pty.", "resource.", "_thread.start_new_thread",
    "signal.pthread_kill", "tempfile.", "webbrowser.", "urllib.", "smtplib.", "ftplib.",
)  # fmt: skip
_READING_EVENTS = ("open", "os.listdir", "os.scandir", "os.walk", "os.chdir", "glob.glob")


class Confinement:
    """The files that may be read, prepared once, and the restrictions, applied in each student's process.

    Args:
        folders: folders of Python and of libraries.
        excluded: folders within them that may not be read: that of the answers.
    """

    def __init__(self, folders: Iterable[str], excluded: Iterable[str]) -> None:
        self.excluded = [os.path.realpath(path) for path in excluded]
        existing = {os.path.realpath(path) for path in (*folders, *_SYSTEM) if os.path.exists(path)}
        self.readable = sorted(path for path in existing if path != "/")
        self.attempts: list[str] = []
        self._c = ctypes.CDLL(None, use_errno=True)
        self._landlock = self._landlock_rules() if sys.platform == "linux" else -1

    def apply(self, seconds: float, memory: int, channel: int) -> list[str]:
        """Take away what the process may not do, for good, and return the names of the protections in force.

        Args:
            seconds: processor time in seconds.
            memory: bytes beyond those that the process has now.
            channel: the only descriptor, besides the standard ones, that stays open.

        Raises:
            OSError: the kernel has Landlock and it could not be put in force.
        """
        active = self._limit(seconds, memory)
        if sys.platform == "linux":
            self._c.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
            self._c.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
            if self._landlock >= 0:
                if self._c.syscall(_RESTRICT_SELF, self._landlock, 0) != 0:
                    raise OSError(ctypes.get_errno(), "Landlock could not be put in force")
                active.append("Landlock")
            # Version 3 of the interface; no capability is effective, permitted or inherited.
            if self._c.capset(struct.pack("=Ii", 0x20080522, 0), bytes(24)) == 0:
                active.append("no capabilities")
            if self._refuse_system_calls():
                active.append("seccomp")
        os.closerange(3, channel)
        os.closerange(channel + 1, 4096)
        sys.addaudithook(self._audit)
        return [*active, "audit hooks"]

    def _limit(self, seconds: float, memory: int) -> list[str]:
        wanted = {resource.RLIMIT_CPU: int(seconds) + 2, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0}
        wanted[resource.RLIMIT_NOFILE] = 256
        # Address space counts shared memory too, which RLIMIT_DATA does not; what the libraries have mapped is added.
        with suppress(OSError):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            wanted[resource.RLIMIT_AS] = pages * resource.getpagesize() + memory
        for which, value in wanted.items():
            with suppress(ValueError, OSError):
                resource.setrlimit(which, (value, value))
        return ["limits" if resource.RLIMIT_AS in wanted else "limits without memory"]

    def _landlock_rules(self) -> int:
        """Return the descriptor of a ruleset, or -1 where the kernel has no Landlock."""
        version = self._c.syscall(_CREATE_RULESET, None, 0, 1)
        if version < 1:
            return -1
        bits = 13 + (version >= 2) + (version >= 3) + (version >= 5)  # rights over files that this version knows
        rights = struct.pack("=QQQ", (1 << bits) - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
        size = 8 if version < 4 else 16 if version < 6 else 24
        ruleset = int(self._c.syscall(_CREATE_RULESET, rights, size, 0))
        if ruleset >= 0:
            for path in self.readable:
                self._allow(ruleset, path)
        return ruleset

    def _allow(self, ruleset: int, path: str) -> None:
        """Allow a folder to be read; one that holds an excluded folder may be listed, and its other parts be read."""
        if os.path.islink(path) or path in self.excluded:
            return
        is_folder = os.path.isdir(path)
        divided = is_folder and any(each.startswith(path + os.sep) for each in self.excluded)
        rights = _READ_DIR if divided else _READ_FILE | (_READ_DIR if is_folder else 0)
        if path == os.devnull:
            rights |= _WRITE_FILE
        with suppress(OSError):
            descriptor = os.open(path, getattr(os, "O_PATH", 0) | os.O_CLOEXEC)
            self._c.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
            os.close(descriptor)
            if divided:
                for name in os.listdir(path):
                    self._allow(ruleset, os.path.join(path, name))

    def _refuse_system_calls(self) -> bool:
        """Install the seccomp filter, and return whether there is one."""
        if platform.machine() not in _MACHINES:
            return False
        program = _filter(*_MACHINES[platform.machine()])
        instructions = ctypes.create_string_buffer(program, len(program))
        header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions))
        return bool(self._c.prctl(22, 2, header, 0, 0) == 0)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_REFUSED_EVENTS):
            self._refuse(event, arguments)
        elif event in _READING_EVENTS and arguments and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            writing = event == "open" and path != os.devnull and _opens_to_write(arguments)
            if writing or not self._may_read(path):
                self._refuse("write" if writing else event, (path,))
        elif event.startswith("ctypes.dl") and self._landlock < 0:
            self._refuse(event, arguments)

    def _may_read(self, path: str) -> bool:
        if any(path == each or path.startswith(each + os.sep) for each in self.excluded):
            return False
        return any(path == each or path.startswith(each + os.sep) for each in self.readable)

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        what = f"{event} {arguments[0]}"[:120] if arguments and isinstance(arguments[0], str) else event
        if len(self.attempts) < 5 and what not in self.attempts:
            self.attempts.append(what)
        raise PermissionError(f"not allowed while an answer is graded: {what}")


def _opens_to_write(arguments: tuple[Any, ...]) -> bool:
    mode, flags = (*arguments, None, None)[1:3]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


def _filter(column: int, architecture: int) -> bytes:
    """Return a program for seccomp: refused system calls give EPERM, all others are allowed.

    A process of another architecture, or with the numbers of x32, is killed or refused: its numbers mean other calls.
    """

    def load(offset: int) -> tuple[int, int, int, int]:  # of struct seccomp_data
        return (0x20, 0, 0, offset)

    def equal(value: int, skip: int) -> tuple[int, int, int, int]:  # goes on when equal, else skips
        return (0x15, 0, skip, value)

    def give(action: int) -> tuple[int, int, int, int]:
        return (0x06, 0, 0, action)

    kill, refuse, missing, allow = give(0x80000000), give(0x00050001), give(0x00050026), give(0x7FFF0000)
    program = [load(4), (0x15, 1, 0, architecture), kill, load(0)]
    if column == 0:
        program += [(0x35, 0, 1, 0x40000000), refuse]
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            program += [equal(number, 1), refuse]
    program += [equal(_CLONE3[column], 1), missing]  # the C library then tries clone
    for numbers in _OWN_ONLY.values():
        program += [equal(numbers[column] or 0, 4), load(16), equal(os.getpid(), 1), allow, refuse]
    # prlimit64 may read limits (a null pointer for the new ones, both halves), not set them.
    program += [equal(_PRLIMIT[column], 6), load(32), equal(0, 3), load(36), equal(0, 1), allow, refuse]
    program.append(allow)
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
