#!/usr/bin/env python3
"""Runs tests on AVX-512 on a machine without it: in a small Linux inside the emulator Bochs.

    tests/avx512/emulate.py BUILD_DIR [NAME...] --kernel VMLINUZ

Tests are meson's, chosen by parts of their names as in tests/run.py, which also counts. The guest
is a Linux kernel and an initial file system with the tests, the libraries they are linked to, the
shape lists and busybox; all of it on a CD image, since that is what the emulator boots. The guest's
console is a file. README.md names the packages and tells what to expect.
"""

import argparse
import glob
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import run  # noqa: E402

SHAPES = os.path.join(os.path.dirname(HERE), "shapes")
BUSYBOX = "/bin/busybox"
ISOLINUX = "/usr/lib/ISOLINUX/isolinux.bin"
LDLINUX = "/usr/lib/syslinux/modules/bios/ldlinux.c32"

# The kernel's own messages would land between a test's lines: quiet. Bochs 2.7 tells a wrong size of
# the compacted state that xsavec and xsaves store, upon which Linux does without wide registers.
KERNEL_ARGUMENTS = (
    "console=ttyS0,115200 quiet loglevel=1 panic=0 clearcpuid=xsavec,xsaves mitigations=off nosmp "
    "no_timer_check tsc=reliable random.trust_cpu=on rcupdate.rcu_cpu_stall_suppress=1"
)

BOCHSRC = """\
config_interface: textconfig
display_library: term
memory: guest={megabytes}, host={megabytes}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios.bin
cpu: model={cpu}, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1
clock: sync=none
pci: enabled=1, chipset=i440fx
ata0-master: type=cdrom, path={iso}, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev={console}
log: {log}
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
"""

INIT = """\
#!{busybox} sh
{busybox} mkdir -p /proc /sys /dev /tmp /sbin
{busybox} mount -t proc proc /proc
{busybox} mount -t sysfs sys /sys
{busybox} mount -t devtmpfs dev /dev
{busybox} mkdir -p /dev/shm
export PATH=/sbin:/bin HOME=/tmp OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive WEFT_WISDOM=none
{busybox} --install -s /sbin
if grep -q ' avx512f .* avx512vl ' /proc/cpuinfo
then
    . /jobs
    echo '@@ done'
else
    dmesg | grep -iE 'xsave|xstate'
    echo 'the guest has no AVX-512'
fi
sleep 1 # until the console is written
poweroff -f
"""


def stage_file(root, path):
    """Copies a file or folder to the same path in the guest."""
    target = root + path
    if os.path.isdir(path):
        shutil.copytree(path, target, dirs_exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(os.path.realpath(path), target)


def libraries(path):
    """What the loader would map for an executable; nothing for a script or a static one."""
    text = subprocess.run(["ldd", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return re.findall(r"(/\S+) \(0x", text.stdout.decode())


def stage_program(root, path):
    stage_file(root, path)
    subprocess.run(["strip", "-g", root + path], check=True)
    for library in libraries(path):
        stage_file(root, library)


def job(number, test, isa, largest):
    """The guest's shell lines that run one test, with marks for the host to find."""
    xml = f"/tmp/{number}.xml"
    env = dict(test.get("env") or {}, WEFT_MAX_ISA=isa)
    env.update(CMOCKA_MESSAGE_OUTPUT="XML", CMOCKA_XML_FILE=xml)
    if largest:
        env["WEFT_TEST_SHAPES"] = "/shapes"
    if "WEFT_AVOID" in os.environ:
        env["WEFT_AVOID"] = os.environ["WEFT_AVOID"]
    words = " ".join(f"{key}={shlex.quote(value)}" for key, value in env.items())
    command = " ".join(map(shlex.quote, test["cmd"]))
    return (
        f"echo '@@ run {number}'\n{words} {command}\nstatus=$?\n"
        f"echo\necho '@@ xml {number}'\ncat {xml} 2>/dev/null\necho\n"
        f'echo "@@ end {number} $status"\n'
    )


def build_iso(args, work, tests):
    """The guest's file system and the CD that boots it."""
    root, cd = os.path.join(work, "root"), os.path.join(work, "cd")
    for folder in (root, cd):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    stage_file(root, BUSYBOX)
    stage_file(root, SHAPES)
    for test in tests:
        stage_program(root, test["cmd"][0])
    for path in map(os.path.abspath, args.with_file):
        if os.path.isfile(path) and os.access(path, os.X_OK):
            stage_program(root, path)
        else:
            stage_file(root, path)
    small_shapes(root + "/shapes", args.largest)
    jobs = [f"echo '@@ command'\n{line}\necho \"@@ status $?\"\n" for line in args.command]
    jobs += [job(i, test, args.isa, args.largest) for i, test in enumerate(tests)]
    with open(root + "/jobs", "w", encoding="utf-8") as f:
        f.write("".join(jobs))
    with open(root + "/init", "w", encoding="utf-8") as f:
        f.write(INIT.format(busybox=BUSYBOX))
    os.chmod(root + "/init", 0o755)
    with open(cd + "/initrd", "wb") as f:
        names = subprocess.run(["find", "."], cwd=root, check=True, stdout=subprocess.PIPE).stdout
        subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names, stdout=f,
                       check=True)
    for source, name in ((args.kernel, "vmlinuz"), (ISOLINUX, "isolinux.bin"),
                         (LDLINUX, "ldlinux.c32")):
        shutil.copy(source, os.path.join(cd, name))
    with open(cd + "/isolinux.cfg", "w", encoding="utf-8") as f:
        f.write(f"default linux\nlabel linux\n kernel vmlinuz\n initrd initrd\n"
                f" append {KERNEL_ARGUMENTS}\n")
    iso = os.path.join(work, "guest.iso")
    subprocess.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-o", iso, "-b", "isolinux.bin", "-c", "boot.cat",
         "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", cd],
        check=True, stderr=subprocess.DEVNULL)
    return iso


def multiply_adds(shape):
    """Of a convolution in benchdnn's syntax, which tests/shapes/shapes.h explains."""
    v = {key: int(n) for key, n in re.findall(r"([a-z]+)(\d+)", shape.split('"')[0])}
    outputs = 1
    for size, out, kernel, stride, padding, dilation in (
            ("ih", "oh", "kh", "sh", "ph", "dh"), ("iw", "ow", "kw", "sw", "pw", "dw")):
        def of(key, missing):
            return v.get(key, v.get(key[0] + "h", missing))
        taps = of(kernel, 1)
        padded = of(size, 1) + 2 * of(padding, 0) - (taps - 1) * (of(dilation, 0) + 1)
        outputs *= of(out, (padded - 1) // of(stride, 1) + 1) * taps
    return v.get("mb", 2) * v["ic"] // v.get("g", 1) * v["oc"] * outputs


def small_shapes(path, most):
    """Writes those of the test's shapes that take at most so many multiply-adds."""
    with open(path, "w", encoding="utf-8") as out:
        for name in ("conv2d_small", "odd"):
            with open(os.path.join(SHAPES, name), encoding="utf-8") as f:
                out.writelines(line for line in f
                               if "ic" in line and line[0] != "#" and multiply_adds(line) <= most)


def read_console(path):
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as f:
            return f.read().replace("\r", "")
    except FileNotFoundError:
        return ""


def report(text, tests, isa, seconds, seen):
    """Prints the tests that have ended since the last call. Returns (passed, failed, skipped)."""
    total = [0, 0, 0]
    for i, test in enumerate(tests):
        match = re.search(rf"^@@ run {i}\n(.*?)^@@ xml {i}\n(.*?)^@@ end {i} (\d+)$", text,
                          re.S | re.M)
        if not match or i in seen:
            continue
        seen.add(i)
        output, xml, status = match.group(1), match.group(2), int(match.group(3))
        passed, failed, skipped, messages = run.count_cmocka(xml)
        note = ""
        if passed + failed + skipped == 0 or (status and not failed):
            failed, note = failed + 1, f"exit status {status}"
        run.print_result(test["name"], isa, run.Result(passed, failed, skipped, messages, output,
                                                       note, seconds))
        total = [a + b for a, b in zip(total, (passed, failed, skipped))]
    return total


def drain(terminal):
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def emulate(args, work, iso, tests):
    console, log = os.path.join(work, "console"), os.path.join(work, "bochs.log")
    rc = os.path.join(work, "bochsrc")
    if os.path.exists(console):
        os.remove(console)
    with open(rc, "w", encoding="utf-8") as f:
        f.write(BOCHSRC.format(megabytes=args.megabytes, cpu=args.cpu, iso=iso, console=console,
                               log=log))
    go = os.path.join(work, "debugger")  # Debian's build has Bochs' debugger, which waits at first
    with open(go, "w", encoding="utf-8") as f:
        f.write("continue\n")
    total, seen, start = [0, 0, 0], set(), time.monotonic()
    last, ended = start, False
    # The emulator draws its screen on a terminal. Nobody looks at this one, but it must be read.
    master, slave = pty.openpty()
    with subprocess.Popen(["bochs-bin", "-q", "-f", rc, "-rc", go], stdin=slave, stdout=slave,
                          stderr=slave, env=dict(os.environ, TERM="vt100"),
                          start_new_session=True) as bochs:
        os.close(slave)
        threading.Thread(target=drain, args=(master,), daemon=True).start()
        try:
            while not ended:
                text, now = read_console(console), time.monotonic()
                ended = bochs.poll() is not None or "@@ done" in text
                counts = report(text, tests, args.isa, now - last, seen)
                if any(counts):
                    last = now
                    total = [a + b for a, b in zip(total, counts)]
                if "Kernel panic" in text or now - start > args.timeout:
                    break
                time.sleep(1)
        finally:
            if bochs.poll() is None:
                bochs.kill()
    text = read_console(console)
    for output in re.findall(r"^@@ command\n(.*?)^@@ status", text, re.S | re.M):
        print(output, end="")
    if "@@ done" not in text:
        print(f"the guest did not come to its end: see {console} and {log}")
        total[1] += 1
    return total


def main(argv):
    p = argparse.ArgumentParser(prog="emulate.py", description=__doc__.splitlines()[0])
    p.add_argument("build_dir")
    p.add_argument("names", nargs="*", metavar="NAME", help="tests whose name contains one")
    p.add_argument("--kernel", default=max(glob.glob("/boot/vmlinuz-*"), default=None),
                   metavar="FILE", help="a Linux kernel (default: the newest in /boot)")
    p.add_argument("--cpu", default="corei7_skylake_x", help="of those 'bochs --help cpu' lists")
    p.add_argument("--isa", default="avx512", help="WEFT_MAX_ISA for the tests")
    p.add_argument("--largest", type=float, default=30000, metavar="N",
                   help="multiply-adds of a convolution that kernels_conv2d tries (%(default)g); 0: any")
    p.add_argument("--command", action="append", default=[], metavar="LINE",
                   help="for the guest's shell, before the tests; its output is shown")
    p.add_argument("--with-file", action="append", default=[], metavar="PATH",
                   help="a program, file or folder to put at the same place in the guest")
    p.add_argument("--work", default="avx512-emulation", metavar="DIR",
                   help="for the guest's files; its console stays there")
    p.add_argument("--megabytes", type=int, default=1024, help="of the guest's memory")
    p.add_argument("--timeout", type=float, default=7200, metavar="SECONDS")
    args = p.parse_args(argv)
    if not args.kernel:
        p.error("no kernel in /boot: give --kernel")
    tests = []
    if args.names or not args.command:
        tests = [t for t in run.selected(run.listed_tests(args.build_dir), args.names)
                 if run.in_suite(t, "isa") and "python" not in os.path.basename(t["cmd"][0])]
    work = os.path.abspath(args.work)
    iso = build_iso(args, work, tests)
    total = emulate(args, work, iso, tests)
    print("{} passed, {} failed, {} skipped".format(*total))
    return 1 if total[1] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
