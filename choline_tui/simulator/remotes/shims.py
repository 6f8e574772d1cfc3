"""Programs a container finds first on its PATH: a card's driver tool, a python, and polite refusals."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from choline_tui.simulator.backend import Gpu

__all__ = ["SYSTEM_PATH", "compute_cap", "driver_name", "nvidia_smi", "write_df", "write_shims"]

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

REFUSED = ("apt", "apt-get", "sudo")

_COMPUTE_CAP = (
    (r"B200|B300|GB200", "10.0"),
    (r"RTX PRO|RTX 50\d\d", "12.0"),
    (r"H100|H200|GH200", "9.0"),
    (r"RTX 40\d\d|L40|L4\b|Ada", "8.9"),
    (r"A100", "8.0"),
    (r"RTX 30\d\d|A40|A10|A16|A2\b|RTX A\d", "8.6"),
    (r"V100|TITAN V", "7.0"),
    (r"RTX 20\d\d|GTX 16\d\d|T4|Q RTX|Quadro RTX|TITAN RTX", "7.5"),
    (r"P100", "6.0"),
    (r"GTX 10\d\d|P40|P4\b|Titan X", "6.1"),
)


def compute_cap(name: str) -> str:
    """CUDA compute capability by the market's name of the card; 7.5 when it says nothing."""
    for pattern, capability in _COMPUTE_CAP:
        if re.search(pattern, name, re.IGNORECASE):
            return capability
    return "7.5"


def driver_name(name: str, memory_mib: int) -> str:
    """What the driver calls a card that the market calls ``name``: the two spell differently in life."""
    size = f"{round(memory_mib / 1000 / 8) * 8}GB"
    fixed = {
        "H100 SXM": "NVIDIA H100 80GB HBM3",
        "H100 PCIE": "NVIDIA H100 PCIe",
        "H100 NVL": "NVIDIA H100 NVL",
        "A100 SXM4": f"NVIDIA A100-SXM4-{size}",
        "A100 PCIE": "NVIDIA A100 80GB PCIe" if size == "80GB" else f"NVIDIA A100-PCIE-{size}",
        "Tesla V100": f"Tesla V100-SXM2-{size}",
        "Tesla T4": "Tesla T4",
        "Tesla P100": "Tesla P100-PCIE-16GB",
        "Tesla P40": "Tesla P40",
        "RTX 6000Ada": "NVIDIA RTX 6000 Ada Generation",
        "RTX 5000Ada": "NVIDIA RTX 5000 Ada Generation",
        "RTX 4500Ada": "NVIDIA RTX 4500 Ada Generation",
        "RTX 4000Ada": "NVIDIA RTX 4000 Ada Generation",
    }.get(name)
    if fixed:
        return fixed
    consumer = re.fullmatch(r"([GR]TX) (\d{4})(S?)((?: Ti)?)(D?)", name)
    if consumer:
        line, number, super_, ti, d = consumer.groups()
        return f"NVIDIA GeForce {line} {number}{ti}{' SUPER' if super_ else ''}{' D' if d else ''}"
    return name if name.startswith(("NVIDIA", "Tesla")) else f"NVIDIA {name}"


def _uuid(machine: int, index: int) -> str:
    n = (machine * 2654435761 + index * 40503 + 12345) % (1 << 64)
    h = f"{n:016x}{(n * 6364136223846793005 + 1442695040888963407) % (1 << 64):016x}"
    return f"GPU-{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:32]}"


def _facts(gpu: Gpu, index: int, count: int, machine: int) -> dict[str, tuple[str, str]]:
    """Field of --query-gpu to (value, unit)."""
    bus = f"00000000:{index + 1:02X}:00.0"
    name = driver_name(gpu.name, gpu.memory_mib)
    used = 2
    return {
        "name": (name, ""),
        "gpu_name": (name, ""),
        "index": (str(index), ""),
        "count": (str(count), ""),
        "uuid": (_uuid(machine, index), ""),
        "gpu_uuid": (_uuid(machine, index), ""),
        "serial": ("[N/A]", ""),
        "pci.bus_id": (bus, ""),
        "gpu_bus_id": (bus, ""),
        "driver_version": (gpu.driver, ""),
        "compute_cap": (compute_cap(gpu.name), ""),
        "compute_mode": ("Default", ""),
        "persistence_mode": ("Enabled", ""),
        "display_active": ("Disabled", ""),
        "mig.mode.current": ("[N/A]", ""),
        "ecc.mode.current": ("[N/A]", ""),
        "pstate": ("P8", ""),
        "fan.speed": ("30", "%"),
        "memory.total": (str(gpu.memory_mib), "MiB"),
        "memory.used": (str(used), "MiB"),
        "memory.free": (str(gpu.memory_mib - used), "MiB"),
        "utilization.gpu": ("0", "%"),
        "utilization.memory": ("0", "%"),
        "temperature.gpu": (str(33 + index % 7), ""),
        "power.draw": (f"{21 + index % 5}.{37 + index:02d}", "W"),
        "power.limit": ("450.00", "W"),
        "clocks.sm": ("210", "MHz"),
        "clocks.mem": ("405", "MHz"),
        "pcie.link.gen.current": ("4", ""),
        "pcie.link.width.current": ("16", ""),
    }


def _table(gpus: Sequence[Gpu]) -> str:
    driver, cuda = (gpus[0].driver, gpus[0].cuda) if gpus else ("", "")
    bar = "+" + "-" * 89 + "+"
    rows = [
        bar,
        f"| NVIDIA-SMI {driver:<22} Driver Version: {driver:<14} CUDA Version: {cuda:<9}|",
        "|-----------------------------------------+------------------------+----------------------+",
        "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |",
        "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |",
        "|                                         |                        |               MIG M. |",
        "|=========================================+========================+======================|",
    ]
    for i, gpu in enumerate(gpus):
        f = {k: v for k, (v, _) in _facts(gpu, i, len(gpus), 0).items()}
        memory = f"{f['memory.used']}MiB / {f['memory.total']:>6}MiB"
        rows += [
            f"| {i:>3}  {f['name'][:28]:<28}   On  | {f['pci.bus_id']:>18} Off |                  Off |",
            f"| 30%  {f['temperature.gpu']:>3}C    P8             {float(f['power.draw']):>3.0f}W /  450W |"
            f" {memory:>22} |      0%      Default |",
            "|                                         |                        |                  N/A |",
            "+-----------------------------------------+------------------------+----------------------+",
        ]
    rows += [
        "",
        bar,
        f"| {'Processes:':<88}|",
        f"|  {'GPU   GI   CI        PID   Type   Process name                              GPU Memory':<87}|",
        "|" + "=" * 89 + "|",
        f"|  {'No running processes found':<87}|",
        bar,
    ]
    return "\n".join(rows)


def nvidia_smi(gpus: Sequence[Gpu], machine: int) -> str:
    """A POSIX shell program that answers as NVIDIA's tool would for these cards."""
    arms = []
    listing = []
    for i, gpu in enumerate(gpus):
        facts = _facts(gpu, i, len(gpus), machine)
        arms += [f"    {i}:{k}) v={shlex.quote(v)} u={shlex.quote(u)};;" for k, (v, u) in facts.items()]
        listing.append(f"GPU {i}: {facts['name'][0]} (UUID: {facts['uuid'][0]})")
    indices = " ".join(str(i) for i in range(len(gpus)))
    # shell substitution here is on fixed text of ours; names of cards are quoted above
    return f"""#!/bin/sh
gpus='{indices}'
query= format= list= only=
fact() {{
  case "$1:$2" in
{chr(10).join(arms)}
    *) return 1;;
  esac
}}
while [ $# -gt 0 ]; do
  case $1 in
    --query-gpu=*) query=${{1#*=}};;
    --query-gpu) shift; query=$1;;
    --format=*) format=${{1#*=}};;
    --format) shift; format=$1;;
    -i|--id) shift; only=$1;;
    --id=*|-i=*) only=${{1#*=}};;
    -L|--list-gpus) list=1;;
    --query-compute-apps=*) exit 0;;
    -h|--help) echo 'NVIDIA System Management Interface (rehearsal): -L -i --query-gpu= --format='; exit 0;;
    *) echo "Invalid combination of input arguments. Please run 'nvidia-smi -h' for help."; exit 1;;
  esac
  shift
done
if [ -z "$gpus" ]; then echo 'No devices were found'; exit 6; fi
if [ -n "$list" ]; then
  cat <<'LIST'
{chr(10).join(listing)}
LIST
  exit 0
fi
if [ -z "$query" ]; then
  date
  cat <<'TABLE'
{_table(gpus)}
TABLE
  exit 0
fi
case ",$format," in
  *,csv,*) ;;
  *) echo '"--format=" switch is missing. Please run "nvidia-smi -h" for help.'; exit 1;;
esac
case ",$format," in *,noheader,*) header=;; *) header=1;; esac
case ",$format," in *,nounits,*) units=;; *) units=1;; esac
fields=$(echo "$query" | tr ',' ' ')
line=
set -f
for f in $fields; do
  if [ "$f" = timestamp ]; then u=; elif ! fact 0 "$f"; then
    echo "Field \\"$f\\" is not a valid field to query."; exit 2
  fi
  case $f in name|gpu_name) f=name;; esac
  line="$line, $f${{u:+ [$u]}}"
done
[ -n "$header" ] && echo "${{line#, }}"
for i in $(echo "${{only:-$gpus}}" | tr ',' ' '); do
  line=
  for f in $fields; do
    if [ "$f" = timestamp ]; then v=$(date '+%Y/%m/%d %H:%M:%S.000') u=; elif ! fact "$i" "$f"; then
      echo 'No devices were found'; exit 6
    fi
    [ -n "$units" ] && v="$v${{u:+ $u}}"
    line="$line, $v"
  done
  echo "${{line#, }}"
done
"""


def _good_python(path: str) -> bool:
    """Whether a plain ``python3`` on that PATH is one that can run a supervisor (3.8 or later)."""
    found = shutil.which("python3", path=path)
    if found is None:
        return False
    check = "import sys; sys.exit(sys.version_info < (3, 8))"
    try:
        return subprocess.run([found, "-I", "-c", check], timeout=20, capture_output=True).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


_python_needed: dict[str, bool] = {}


def write_shims(directory: Path, gpus: Sequence[Gpu], machine: int, *, refuse: bool) -> None:
    """Fill a container's own bin directory. ``refuse``: nothing keeps it from this computer's system."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)

    def program(name: str, text: str) -> None:
        file = directory / name
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755)

    program("nvidia-smi", nvidia_smi(gpus, machine))
    if refuse:
        for name in REFUSED:
            program(
                name,
                "#!/bin/sh\n"
                f"echo '{name}: refused: this rehearsal remote is not isolated from your computer "
                "(install bubblewrap to isolate it)' >&2\nexit 100\n",
            )
    if SYSTEM_PATH not in _python_needed:
        _python_needed[SYSTEM_PATH] = not _good_python(SYSTEM_PATH)
    if _python_needed[SYSTEM_PATH]:
        link = directory / "python3"
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.realpath(sys.executable))
    if shutil.which("python", path=SYSTEM_PATH) is None:
        # as in the images people rent
        target = directory / "python3" if _python_needed[SYSTEM_PATH] else Path(_which("python3"))
        link = directory / "python"
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def write_df(directory: Path, home: Path, disk_gb: float) -> None:
    """``df`` as on an instance: one disk of the size that was rented, filled by what lies in its home."""
    real = _which("df")
    (directory / "df").write_text(
        f"""#!/bin/sh
# a rehearsal's disk is a folder; this shows it as the disk that was rented, with what this computer has left
unit=1024 human= letters=
for word do
  case $word in
    --*) exec {shlex.quote(real)} "$@";;
    -*[!PkhHmTa-]*) exec {shlex.quote(real)} "$@";;
    -*) letters=$letters$word;;
  esac
done
case $letters in *h*|*H*) human=1;; *m*) unit=1048576;; esac
total={int(disk_gb * 1e9) // 1024}
used=$(du -sk {shlex.quote(str(home))} 2>/dev/null | tail -n 1 | cut -f 1)
used=${{used:-0}}
left=$({shlex.quote(real)} -Pk {shlex.quote(str(home))} 2>/dev/null | tail -n 1 | awk '{{print $4}}')
left=${{left:-0}}
free=$((total - used))
[ "$free" -lt 0 ] && free=0
[ "$left" -lt "$free" ] && free=$left
size() {{
  if [ -z "$human" ]; then echo $(($1 * 1024 / unit)); return; fi
  awk -v k="$1" 'BEGIN {{ printf "%.1fG", k / 1048576 }}'
}}
name=1024-blocks
[ "$unit" = 1048576 ] && name=1M-blocks
[ -n "$human" ] && name=Size
kind= type=
case $letters in *T*) kind=' Type' type=' overlay';; esac
echo "Filesystem$kind $name Used Available Capacity Mounted on"
echo "overlay$type $(size $total) $(size $used) $(size $free) $((used * 100 / (total > 0 ? total : 1)))% /"
""",
        encoding="utf-8",
    )
    (directory / "df").chmod(0o755)


def _which(name: str) -> str:
    return shutil.which(name, path=SYSTEM_PATH) or name
