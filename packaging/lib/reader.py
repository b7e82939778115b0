#!/usr/bin/env python3
"""Follows pages as a reader would: runs the commands of their code blocks, in order, each where it belongs.

    reader.py --place host=PID [--place client=PID ...] [--address host=IP ...] PAGE...

A fenced block is run if its first line says where, after the language:

    ```sh host               by root on that host; what a command leaves (folder, variables) the next one finds
    ```sh client refused     every command must fail, and say what the comment at its end says
    ```sh client needs=NAME  passed over, loudly, where the program NAME is missing

Other blocks are only read. What a reader does without a command stands in comments, which nobody sees:

    <!-- reader: NAME is HOST -->                 from now on clients find the name NAME at HOST
    <!-- reader: carry HOST:FOLDER HOST:FOLDER -->  the folder is brought from one host to the other
    <!-- reader: HOST runs COMMAND -->            what is no part of the way, on HOST

Each place has a terminal: where a command asks for a password the user's is typed. Passwords that a command
makes and shows ("password: ...") are noted, as a reader would.
"""
import argparse
import fcntl
import os
import pty
import re
import secrets
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time

PATIENCE = 180
FENCE = re.compile(r"^```(.*)$")
NOTE = re.compile(r"^<!-- reader: (.*) -->$")
CODES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][AB0]|\r")
ASKED = re.compile(r"(password|the same again)[^\n]*: *$", re.IGNORECASE)
DRIVER = 'cd; while IFS= read -r -d "" -u 3 line; do eval "$line" 3<&- 4>&-; echo $? >&4; done'
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "TERM": "dumb", "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "cat",
    "DEBIAN_FRONTEND": "noninteractive",
}
CLIENT = {"HOME": "/srv/operator", "STORAGE_DRIVER": "vfs", "CONTAINERD_SNAPSHOTTER": "native"}


class Stuck(Exception):
    """A page does not lead where it says."""


class Place:
    """A shell on a host, with a terminal. It reads commands on descriptor 3 and answers codes on 4."""

    def __init__(self, name, pid):
        self.name, self.pid = name, pid
        commands, self.commands = os.pipe()
        self.codes, codes = os.pipe()
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            # Above both, so that neither is overwritten.
            high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, codes)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)
            os.closerange(5, 64)
            environment = ENVIRONMENT | (CLIENT if name == "client" else {"HOME": "/root"})
            enter = ["nsenter", "-t", str(pid), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i"]
            settings = [f"{key}={value}" for key, value in environment.items()]
            os.execvp("nsenter", enter + settings + ["bash", "-c", DRIVER])
        os.close(commands)
        os.close(codes)
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))

    def run(self, command, password_of):
        """Its exit code, and what it printed."""
        os.write(self.commands, command.encode() + b"\0")
        text, answered, end = "", 0, time.monotonic() + PATIENCE
        while True:
            asked = ASKED.search(text[answered:])
            # As a person is: not before the terminal hides what is typed, since until then it is thrown away.
            if asked and not termios.tcgetattr(self.terminal)[3] & termios.ECHO:
                answered = len(text)
                os.write(self.terminal, password_of(text).encode() + b"\n")
            patience = 0.02 if asked else 1
            ready, _, _ = select.select([self.terminal, self.codes], [], [], patience)
            if time.monotonic() > end:
                raise Stuck(f"{command}: not done within {PATIENCE} s; so far:\n{text}")
            if self.terminal in ready:
                try:
                    text += CODES.sub(b"", os.read(self.terminal, 65536)).decode(errors="replace")
                except OSError as gone:
                    raise Stuck(f"{command}: the shell on {self.name} has ended; so far:\n{text}") from gone
            elif self.codes in ready:
                # Only when the terminal has no more: what was printed comes first.
                answer = os.read(self.codes, 64)
                if not answer:
                    raise Stuck(f"the shell on {self.name} has ended")
                return int(answer.split()[-1]), text

    def files(self, *command, **rest):
        """A command there without a terminal."""
        return subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "--", *command], check=True, **rest)

    def end(self):
        os.close(self.commands)
        os.kill(self.process, signal.SIGHUP)
        os.waitpid(self.process, 0)


class Reader:
    def __init__(self, places, addresses):
        self.places, self.addresses = places, addresses
        self.passwords, self.user = {}, "admin"
        self.commands = 0

    def page(self, path):
        print(f"\n== {path}", flush=True)
        for number, words, lines in pieces(open(path, encoding="utf-8").read()):
            where = f"{os.path.basename(path)}:{number}"
            if words[0] == "note":
                self.note(words[1:], where)
            else:
                self.block(words, lines, where)

    def block(self, words, lines, where):
        place, expectations = self.places.get(words[0]), words[1:]
        if place is None:
            raise Stuck(f"{where}: there is no {words[0]} here")
        for expectation in expectations:
            key, _, program = expectation.partition("=")
            if key == "needs" and shutil.which(program, path=ENVIRONMENT["PATH"]) is None:
                print(f"SKIPPED {where}: {program} is not installed", flush=True)
                return
            if key not in ("needs", "refused"):
                raise Stuck(f"{where}: a block cannot be {expectation}")
        for command in commands(lines):
            self.command(place, command, "refused" in expectations, where)

    def command(self, place, command, refused, where):
        print(f"{where} {place.name}# {command}", flush=True)
        if found := re.search(r"(?:-u|--user|--username|user add|user set)[ =]([a-z][a-z0-9]*)\b", command):
            self.user = found.group(1)
        code, text = place.run(command, self.password)
        print("".join(f"    {line}\n" for line in text.splitlines()), end="", flush=True)
        if found := re.search(r"^password:? +(\S+)$", text, re.MULTILINE):
            self.passwords[self.user] = found.group(1)
        self.commands += 1
        if not refused and code != 0:
            raise Stuck(f"{where}: {command}\nfailed with code {code}")
        if refused:
            said = re.search(r" # (.*)$", command)
            if code == 0 or (said and said.group(1).strip() not in text):
                raise Stuck(f"{where}: {command}\nended with code {code}, and should be refused as its comment says")

    def password(self, text):
        """What is typed where a password is asked for; the first time one is thought of."""
        if found := re.findall(r"[Pp]assword of ([a-z][a-z0-9]*)", text):
            self.user = found[-1]
        return self.passwords.setdefault(self.user, "A1-" + secrets.token_hex(12))

    def note(self, words, where):
        match words:
            case [name, "is", host]:
                address = self.addresses[host]
                edit = f"sed -i '/ {re.escape(name)}$/d' /tmp/hosts && echo '{address} {name}' >>/tmp/hosts && cat /tmp/hosts >/etc/hosts"
                self.places["client"].files("sh", "-c", f"cp /etc/hosts /tmp/hosts && {edit}")
                # docker keeps a name it has just used for five seconds, and cannot be told otherwise.
                time.sleep(6)
            case ["carry", source, target]:
                (one, folder), (other, there) = source.split(":"), target.split(":")
                packed = self.places[one].files("tar", "-C", folder, "-cf", "-", ".", stdout=subprocess.PIPE).stdout
                self.places[other].files("mkdir", "-p", there)
                self.places[other].files("tar", "-C", there, "-xf", "-", input=packed)
            case [host, "runs", *command]:
                code, text = self.places[host].run(" ".join(command), self.password)
                if code != 0:
                    raise Stuck(f"{where}: {' '.join(command)}\nfailed with code {code}:\n{text}")
            case _:
                raise Stuck(f"{where}: a reader does not know what to do: {' '.join(words)}")
        print(f"{where} ({' '.join(words)})", flush=True)


def pieces(text):
    """What a reader acts on: line number, words of the first line, lines of the block."""
    inside, found = None, []
    for number, line in enumerate(text.splitlines(), 1):
        fence, note = FENCE.match(line), NOTE.match(line)
        if inside is not None and fence:
            first, words, lines = inside
            inside = None
            if len(words) > 1 and words[0] == "sh":
                found.append((first, words[1:], lines))
        elif fence:
            inside = (number, fence.group(1).split(), [])
        elif inside is not None:
            inside[2].append(line)
        elif note:
            found.append((number, ["note", *note.group(1).split()], []))
    if inside is not None:
        raise Stuck(f"a block that begins in line {inside[0]} does not end")
    return found


def commands(lines):
    """The lines of a block as whole commands: what a shell would go on reading belongs to what is before it."""
    command = ""
    for line in lines:
        command += line if not command else "\n" + line
        if not command.strip() or command.lstrip().startswith("#"):
            command = ""
            continue
        checked = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
        if checked.returncode == 0 and not checked.stderr and not line.endswith("\\"):
            yield command
            command = ""
    if command:
        raise Stuck(f"a command does not end:\n{command}")


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--place", action="append", default=[])
    parser.add_argument("--address", action="append", default=[])
    parser.add_argument("pages", nargs="+")
    arguments = parser.parse_args()
    places = {name: Place(name, int(pid)) for name, _, pid in (one.partition("=") for one in arguments.place)}
    reader = Reader(places, dict(one.split("=", 1) for one in arguments.address))
    status = 0
    try:
        for page in arguments.pages:
            reader.page(page)
        print(f"\n{len(arguments.pages)} pages were followed, {reader.commands} commands")
    except Stuck as stuck:
        print(f"FAILED: {stuck}", file=sys.stderr)
        status = 1
    for place in places.values():
        place.end()
    return status


if __name__ == "__main__":
    sys.exit(main())
