"""What the servers of others share as programs: the command they run, and what it may ask of them meanwhile."""
import os
import signal
import socket
import subprocess
import threading


def serve_control(does, control):
    """Does what the command asks for, one line at a time (a word of `does`, and its arguments), until it has closed its end."""
    for line in control.makefile("r"):
        word, *arguments = line.split()
        does[word](*arguments)
        control.sendall(b"done\n")


class Command:
    """The command to run. SIGTERM is passed on to it, whenever it comes: an exception could come in the middle of
    starting it, and leave it behind."""

    def __init__(self, words):
        self.words = words
        self.process = None
        self.ended = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_):
        self.ended = True
        if self.process:
            self.process.terminate()

    def run(self, environment, control):
        """-> its exit code, 128 + the signal when one ended it"""
        if self.ended:
            return 128 + signal.SIGTERM
        self.process = subprocess.Popen(self.words, env={**os.environ, **environment}, pass_fds=[control.fileno()])
        control.close()
        if self.ended:  # while it was being started
            self.process.terminate()
        code = self.process.wait()
        return code if code >= 0 else 128 - code


def run_beside(command, does, environment, control_variable):
    """Runs the command (a Command) with this environment and a descriptor to ask by in the variable. -> its exit code"""
    ours, theirs = socket.socketpair()
    threading.Thread(target=serve_control, args=(does, ours), daemon=True).start()
    return command.run({**environment, control_variable: str(theirs.fileno())}, theirs)
