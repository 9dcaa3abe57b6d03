"""Reads the machine code of a program and tests its hot loops: innermost ones of the kernels that multiply-add
whole vectors. A call in one, or a vector that is stored to the stack, is named; vectors that are only read from the
stack are constants the registers have no room for, and are counted.

    cargo bench -p benches --no-run     # prints the names of the programs
    python3 benches/loops.py PROGRAM...

Needs objdump, which comes with gcc's binutils. Exits with 1 if a loop calls."""
import re
import subprocess
import sys

FEWEST = 4  # multiply-adds of a loop worth looking at
VECTOR = re.compile(r"%[yz]mm")
FROM_STACK = re.compile(r"\(%rsp[^)]*\).*%[yz]mm\d+")
TO_STACK = re.compile(r"%[yz]mm\d+.*,-?(0x[0-9a-f]+)?\(%rsp[^)]*\)$")


def functions(program):
    """Name and instructions (address, text) of each function."""
    dump = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", program], stdout=subprocess.PIPE, text=True, check=True
    )
    name, code = None, []
    for line in dump.stdout.splitlines():
        if head := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
            yield name, code
            name, code = head.group(1), []
        elif instruction := re.match(r"^ +([0-9a-f]+):\t(.*)", line):
            code.append((int(instruction.group(1), 16), instruction.group(2).strip()))
    yield name, code


def innermost(code):
    """First and last instruction of each loop that holds no other: jumps back, to the place they go to."""
    at = {address: i for i, (address, _) in enumerate(code)}
    jumps = ((re.match(r"j\w+ +([0-9a-f]+)", text), i) for i, (_, text) in enumerate(code))
    back = [(at[int(jump.group(1), 16)], i) for jump, i in jumps if jump and int(jump.group(1), 16) in at]
    loops = {(first, last) for first, last in back if first < last}
    for loop in sorted(loops):
        if not any(loop[0] <= other[0] and other[1] <= loop[1] for other in loops - {loop}):
            yield loop


def main(programs):
    calls = 0
    for program in programs:
        loops = spilling = reading = 0
        for name, code in functions(program):
            if not name or "kernels" not in name:
                continue
            for first, last in innermost(code):
                body = [text for _, text in code[first : last + 1]]
                products = sum("fmadd" in text or "fmsub" in text or "fnmadd" in text for text in body)
                if products < FEWEST or not any(VECTOR.search(text) for text in body):
                    continue
                called = sum(text.startswith("call") for text in body)
                stored = sum(bool(TO_STACK.search(text)) for text in body)
                loops, calls = loops + 1, calls + called
                spilling += stored > 0
                reading += any(FROM_STACK.search(text) for text in body)
                if called or stored:
                    print(f"  {name} at {code[first][0]:x}: {len(body)} instructions, {called} calls, {stored} stores")
        print(f"{program}: {loops} loops, {spilling} store vectors to the stack, {reading} read them")
    return 1 if calls else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if len(sys.argv) > 1 else __doc__)
