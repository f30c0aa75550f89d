# Runs one program under limits. Go hands this to python3 -c with one argument, a JSON object of settings; on the
# standard input come a secret line and the program. To descriptor 3 goes the secret once the program has come to its
# end, or a line that begins with "setup: " if it could not even be started.
import json
import os
import resource
import sys
import traceback


def confine(disk):
    """Inside namespaces of its own: nothing can be written but a small folder in memory, and the processes, sockets and
    folders of everybody else are out of sight. Afterwards the process has no privilege even here."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(what, result):
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, what + ": " + os.strerror(code))

    def mount(target, options, flags):
        call("mount " + target, libc.mount(b"none", target.encode(), b"tmpfs", ctypes.c_ulong(flags), options.encode()))

    class Attributes(ctypes.Structure):
        _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]

    read_only, no_suid, no_dev, no_exec = 1, 2, 4, 8
    attributes = Attributes(read_only | no_suid, 0, 1 << 18, 0)  # MS_PRIVATE
    here, recursive, mount_setattr = -100, 0x8000, 442
    call("mount_setattr", libc.syscall(mount_setattr, here, b"/", recursive, ctypes.byref(attributes), ctypes.sizeof(attributes)))
    for folder in ("/proc", "/run"):
        if os.path.isdir(folder):
            mount(folder, "size=4k,nr_inodes=2", read_only | no_suid | no_dev | no_exec)
    mount("/tmp", "size=%d,nr_inodes=4096,mode=0700" % disk, no_suid | no_dev)

    set_no_new_privs, drop_bounding = 38, 24
    for capability in range(64):
        if libc.prctl(drop_bounding, capability, 0, 0, 0) < 0:
            break
    call("prctl", libc.prctl(set_no_new_privs, 1, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    call("capset", libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())))


def limit(settings):
    for what, value in (
        ("RLIMIT_CORE", 0),
        ("RLIMIT_AS", settings["memory"]),
        ("RLIMIT_FSIZE", settings["disk"]),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_CPU", settings["seconds"]),
        ("RLIMIT_NPROC", settings["processes"]),
    ):
        if hasattr(resource, what):
            most = resource.getrlimit(getattr(resource, what))[1]
            if most != resource.RLIM_INFINITY:
                value = min(value, most)
            try:
                resource.setrlimit(getattr(resource, what), (value, value))
            except (ValueError, OSError) as err:
                if what != "RLIMIT_AS" or sys.platform != "darwin":  # which has no such limit
                    raise OSError("%s of %d: %s" % (what, value, err))


def main():
    secret = sys.stdin.buffer.readline()
    program = sys.stdin.buffer.read().decode()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    try:
        settings = json.loads(sys.argv[1])
        sys.argv[:] = [""]
        if settings["confined"]:
            confine(settings["disk"])
            os.chdir("/tmp")
        limit(settings)
    except Exception as err:
        os.write(3, ("setup: %s" % err).encode())
        os._exit(2)
    try:
        exec(compile(program, "<program>", "exec"), {})
    except BaseException:
        try:
            traceback.print_exc(limit=-3)
            sys.stdout.flush()
        finally:
            os._exit(1)
    os.write(3, secret)
    try:
        sys.stdout.flush()
    finally:
        os._exit(0)


main()
