"""What the rehearsal market is made of: GPU models, places, processors, drivers.

Figures are the makers' published ones: memory as ``nvidia-smi`` reports it (MiB), single-precision
TFLOPS of one card, memory bandwidth in GB/s, board power in W. ``dlperf`` and ``price`` ($/h for one
card, on demand) are typical of the real market and need not be exact.
"""

from dataclasses import dataclass

__all__ = ["CPUS", "DISKS", "DRIVERS", "MODELS", "PLACES", "Cpu", "Driver", "Model", "Place"]


@dataclass(frozen=True)
class Model:
    """One GPU model; ``sizes``: how many cards its machines have; ``weight``: how common they are."""

    name: str
    memory_mib: int
    tflops: float
    dlperf: float
    compute_cap: int
    bandwidth: float
    power: int
    price: float
    weight: int
    sizes: tuple[int, ...] = (1, 2, 4)
    datacenter: bool = False
    nvlink: float = 0.0
    pci: float = 4.0
    arch: str = "nvidia"


_BIG = (8, 8, 4, 2, 1)
_RIG = (1, 1, 2, 4, 4, 8)
_MINE = (1, 2, 4, 6, 8, 10, 12)
_HOME = (1, 1, 1, 2)

MODELS: tuple[Model, ...] = (
    # name, MiB, TFLOPS, dlperf, cap, GB/s, W, $/h, weight, sizes, datacenter, nvlink, pci
    Model("GTX 1080 Ti", 11264, 11.3, 9.0, 610, 484, 250, 0.060, 10, _MINE, pci=3.0),
    Model("RTX 2080 Ti", 11264, 13.4, 16.5, 750, 616, 250, 0.085, 12, _RIG, pci=3.0),
    Model("RTX 3060", 12288, 12.7, 11.5, 860, 360, 170, 0.065, 30, _MINE),
    Model("RTX 3060 Ti", 8192, 16.2, 14.2, 860, 448, 200, 0.070, 10, _MINE),
    Model("RTX 3070", 8192, 20.3, 16.4, 860, 448, 220, 0.080, 14, _MINE),
    Model("RTX 3080", 10240, 29.8, 22.5, 860, 760, 320, 0.105, 16, _RIG),
    Model("RTX 3080 Ti", 12288, 34.1, 25.0, 860, 912, 350, 0.125, 8, _HOME),
    Model("RTX 3090", 24576, 35.6, 29.5, 860, 936, 350, 0.170, 55, _RIG),
    Model("RTX 3090 Ti", 24564, 40.0, 33.0, 860, 1008, 450, 0.210, 6, _HOME),
    Model("RTX 4060 Ti", 16380, 22.1, 19.5, 890, 288, 165, 0.105, 14, _RIG),
    Model("RTX 4070", 12282, 29.1, 27.0, 890, 504, 200, 0.120, 8, _HOME),
    Model("RTX 4070S", 12282, 35.5, 31.0, 890, 504, 220, 0.130, 8, _HOME),
    Model("RTX 4070S Ti", 16376, 44.1, 38.0, 890, 672, 285, 0.160, 10, _RIG),
    Model("RTX 4080", 16376, 48.7, 44.0, 890, 717, 320, 0.200, 10, _HOME),
    Model("RTX 4080S", 16376, 52.2, 47.0, 890, 736, 320, 0.215, 12, _RIG),
    Model("RTX 4090", 24564, 82.6, 90.0, 890, 1008, 450, 0.370, 90, _RIG),
    Model("RTX 4090D", 24564, 73.5, 80.0, 890, 1008, 425, 0.340, 10, _RIG),
    Model("RTX 5060 Ti", 16311, 23.7, 26.0, 1200, 448, 180, 0.115, 12, _RIG, pci=5.0),
    Model("RTX 5070", 12227, 30.9, 36.0, 1200, 672, 250, 0.140, 6, _HOME, pci=5.0),
    Model("RTX 5070 Ti", 16303, 43.9, 50.0, 1200, 896, 300, 0.190, 12, _RIG, pci=5.0),
    Model("RTX 5080", 16303, 56.3, 66.0, 1200, 960, 360, 0.250, 16, _RIG, pci=5.0),
    Model("RTX 5090", 32607, 104.8, 145.0, 1200, 1792, 575, 0.480, 70, _RIG, pci=5.0),
    Model("Titan V", 12288, 14.9, 17.0, 700, 653, 250, 0.110, 2, _HOME, pci=3.0),
    Model("Titan RTX", 24576, 16.3, 20.0, 750, 672, 280, 0.150, 2, _HOME, pci=3.0),
    Model("Q RTX 8000", 49152, 16.3, 20.5, 750, 672, 260, 0.260, 5, _RIG, pci=3.0),
    Model("RTX A4000", 16376, 19.2, 17.5, 860, 448, 140, 0.110, 18, _RIG),
    Model("RTX A5000", 24564, 27.8, 26.0, 860, 768, 230, 0.190, 20, _RIG),
    Model("RTX A6000", 49140, 38.7, 34.0, 860, 768, 300, 0.430, 26, _RIG, nvlink=112.5),
    Model("RTX 4000Ada", 20475, 26.7, 27.0, 890, 360, 130, 0.200, 8, _RIG),
    Model("RTX 5000Ada", 32760, 65.3, 62.0, 890, 576, 250, 0.420, 5, _RIG),
    Model("RTX 6000Ada", 49140, 91.1, 86.0, 890, 960, 300, 0.640, 20, _RIG),
    Model("RTX PRO 4000", 24467, 46.9, 58.0, 1200, 672, 140, 0.260, 4, _RIG, pci=5.0),
    Model("RTX PRO 4500", 32623, 54.9, 70.0, 1200, 896, 200, 0.340, 4, _RIG, pci=5.0),
    Model("RTX PRO 6000 WS", 97887, 125.0, 170.0, 1200, 1792, 600, 1.05, 16, _RIG, pci=5.0),
    Model("RTX PRO 6000 S", 97887, 120.0, 165.0, 1200, 1597, 600, 1.12, 12, _BIG, True, pci=5.0),
    Model("Tesla P40", 23040, 11.8, 8.5, 610, 347, 250, 0.080, 5, _RIG, True, pci=3.0),
    Model("Tesla P100", 16384, 9.3, 9.0, 600, 732, 250, 0.085, 4, _RIG, True, pci=3.0),
    Model("Tesla T4", 15360, 8.1, 8.0, 750, 320, 70, 0.110, 8, _RIG, True, pci=3.0),
    Model("Tesla V100", 32768, 14.0, 17.5, 700, 897, 250, 0.220, 14, _BIG, True, 150.0, 3.0),
    Model("A10", 23028, 31.2, 24.0, 860, 600, 150, 0.240, 8, _RIG, True),
    Model("A40", 46068, 37.4, 33.0, 860, 696, 300, 0.400, 10, _BIG, True, 112.5),
    Model("A100 PCIE", 40960, 19.5, 40.0, 800, 1555, 250, 0.620, 12, _BIG, True),
    Model("A100 SXM4", 81920, 19.5, 48.0, 800, 2039, 400, 0.850, 24, _BIG, True, 600.0),
    Model("L4", 23034, 30.3, 26.0, 890, 300, 72, 0.320, 8, _RIG, True),
    Model("L40", 46068, 90.5, 78.0, 890, 864, 300, 0.550, 8, _BIG, True),
    Model("L40S", 46068, 91.6, 84.0, 890, 864, 350, 0.620, 22, _BIG, True),
    Model("H100 PCIE", 81559, 51.2, 105.0, 900, 2039, 350, 1.65, 10, _BIG, True, pci=5.0),
    Model("H100 NVL", 95830, 60.0, 120.0, 900, 3938, 400, 1.80, 8, _BIG, True, 600.0, 5.0),
    Model("H100 SXM", 81559, 66.9, 140.0, 900, 3352, 700, 1.95, 30, _BIG, True, 900.0, 5.0),
    Model("GH200 SXM", 97871, 66.9, 145.0, 900, 4023, 900, 1.90, 3, (1,), True, 900.0, 5.0),
    Model("H200", 143771, 66.9, 155.0, 900, 4800, 700, 2.50, 16, _BIG, True, 900.0, 5.0),
    Model("H200 NVL", 143771, 60.0, 145.0, 900, 4800, 600, 2.30, 6, _BIG, True, 900.0, 5.0),
    Model("B200", 183359, 75.0, 260.0, 1000, 8000, 1000, 3.90, 8, _BIG, True, 1800.0, 5.0),
    Model("CMP 170HX", 8192, 12.6, 6.0, 800, 1493, 250, 0.060, 2, _MINE, pci=1.0),
    Model("RX 7900 XTX", 24560, 61.4, 38.0, 1100, 960, 355, 0.230, 3, _HOME, arch="amd"),
    Model("InstinctMI250X", 65536, 47.9, 60.0, 900, 3277, 560, 0.900, 1, (4,), True, arch="amd"),
)


@dataclass(frozen=True)
class Place:
    """Where machines stand, as the market writes it: "City, CC" or "Country, CC"."""

    text: str
    country: str
    code: int
    """the market's ``geolocode``"""
    weight: int
    prefix: str
    """first two parts of made-up public addresses (documentation and test ranges only)"""
    megabit: int
    """typical line, Mbit/s"""


PLACES: tuple[Place, ...] = (
    Place("California, US", "US", 840, 30, "198.18", 2500),
    Place("Texas, US", "US", 840, 18, "198.18", 2000),
    Place("Washington, US", "US", 840, 12, "198.18", 2500),
    Place("New York, US", "US", 840, 10, "198.18", 1800),
    Place("Oregon, US", "US", 840, 8, "198.18", 2500),
    Place("Utah, US", "US", 840, 6, "198.18", 5000),
    Place("North Carolina, US", "US", 840, 6, "198.18", 1500),
    Place("Quebec, CA", "CA", 124, 12, "198.19", 3000),
    Place("British Columbia, CA", "CA", 124, 6, "198.19", 1500),
    Place("Ontario, CA", "CA", 124, 6, "198.19", 1500),
    Place("Sweden, SE", "SE", 752, 12, "198.18", 2500),
    Place("Norway, NO", "NO", 578, 10, "198.18", 3000),
    Place("Finland, FI", "FI", 246, 8, "198.18", 2000),
    Place("Iceland, IS", "IS", 352, 4, "198.19", 1500),
    Place("Germany, DE", "DE", 276, 12, "198.19", 1200),
    Place("Netherlands, NL", "NL", 528, 8, "198.19", 3000),
    Place("France, FR", "FR", 250, 8, "198.18", 2000),
    Place("United Kingdom, GB", "GB", 826, 10, "198.18", 1200),
    Place("Spain, ES", "ES", 724, 8, "198.19", 1000),
    Place("Portugal, PT", "PT", 620, 3, "198.19", 900),
    Place("Italy, IT", "IT", 380, 5, "198.19", 900),
    Place("Poland, PL", "PL", 616, 8, "198.18", 900),
    Place("Czechia, CZ", "CZ", 203, 8, "198.18", 900),
    Place("Hungary, HU", "HU", 348, 4, "198.18", 900),
    Place("Romania, RO", "RO", 642, 6, "198.19", 950),
    Place("Bulgaria, BG", "BG", 100, 8, "198.19", 900),
    Place("Estonia, EE", "EE", 233, 4, "198.19", 900),
    Place("Ukraine, UA", "UA", 804, 6, "198.18", 700),
    Place("Slovenia, SI", "SI", 705, 4, "198.18", 800),
    Place("Israel, IL", "IL", 376, 4, "198.18", 800),
    Place("Japan, JP", "JP", 392, 10, "198.19", 1800),
    Place("South Korea, KR", "KR", 410, 10, "198.19", 2000),
    Place("Taiwan, TW", "TW", 158, 8, "198.19", 900),
    Place("Singapore, SG", "SG", 702, 4, "198.18", 2000),
    Place("Hong Kong, HK", "HK", 344, 4, "198.18", 900),
    Place("Vietnam, VN", "VN", 704, 8, "198.18", 500),
    Place("Thailand, TH", "TH", 764, 6, "198.19", 700),
    Place("India, IN", "IN", 356, 5, "198.19", 500),
    Place("Australia, AU", "AU", 36, 6, "198.19", 700),
    Place("Brazil, BR", "BR", 76, 4, "198.18", 500),
    Place("South Africa, ZA", "ZA", 710, 2, "198.18", 400),
)


@dataclass(frozen=True)
class Cpu:
    name: str
    threads: int
    ghz: float
    server: bool
    arch: str = "amd64"


CPUS: tuple[Cpu, ...] = (
    Cpu("Core™ i5-12400F", 12, 4.4, False),
    Cpu("Core™ i7-13700K", 24, 5.4, False),
    Cpu("AMD Ryzen 5 5600X 6-Core Processor", 12, 4.6, False),
    Cpu("AMD Ryzen 9 5950X 16-Core Processor", 32, 4.9, False),
    Cpu("AMD Ryzen 9 7950X 16-Core Processor", 32, 5.7, False),
    Cpu("AMD Ryzen Threadripper PRO 5965WX 24-Cores", 48, 4.5, False),
    Cpu("Xeon® E5-2680 v4", 56, 3.3, True),
    Cpu("Xeon® Gold 6230", 80, 3.9, True),
    Cpu("Xeon® Platinum 8470", 208, 3.8, True),
    Cpu("AMD EPYC 7402P 24-Core Processor", 48, 3.35, True),
    Cpu("AMD EPYC 7542 32-Core Processor", 64, 3.4, True),
    Cpu("AMD EPYC 7763 64-Core Processor", 128, 3.5, True),
    Cpu("AMD EPYC 9354 32-Core Processor", 128, 3.8, True),
    Cpu("AMD EPYC 9654 96-Core Processor", 384, 3.7, True),
)
ARM_CPU = Cpu("Neoverse-V2", 72, 3.4, True, "arm64")


@dataclass(frozen=True)
class Driver:
    version: str
    cuda: float
    weight: int


DRIVERS: tuple[Driver, ...] = (
    Driver("525.125.06", 12.0, 3),
    Driver("535.183.01", 12.2, 10),
    Driver("535.86.05", 12.2, 4),
    Driver("550.54.15", 12.4, 8),
    Driver("550.90.07", 12.4, 16),
    Driver("560.35.03", 12.6, 12),
    Driver("565.57.01", 12.7, 8),
    Driver("570.133.20", 12.8, 18),
    Driver("570.86.15", 12.8, 6),
    Driver("575.64.03", 12.9, 8),
    Driver("580.82.09", 13.0, 14),
)
BLACKWELL_CUDA = 12.8
"""cards of compute capability 10.0 and above need at least this driver generation"""
TURING_CAP, LAST_BEFORE_TURING = 750, 12.9
"""CUDA 13 has no support for older cards"""

DISKS: tuple[tuple[str, float], ...] = (
    ("Samsung SSD 980 PRO", 5200.0),
    ("Samsung SSD 990 PRO", 6900.0),
    ("WD_BLACK SN850X", 6600.0),
    ("CT2000P3PSSD8", 3900.0),
    ("KIOXIA KCD61LUL7T68", 5900.0),
    ("INTEL SSDPE2KX040T8", 2900.0),
    ("MICRON_7450_MTFDKCC7T6TFR", 6200.0),
    ("Samsung SSD 870", 520.0),
)

BOARDS = ("ROME2D32GM-2T", "H12SSL-i", "X570 AORUS", "PRO B660M-A", "MZ33-AR0", "X11DPG-OT")
