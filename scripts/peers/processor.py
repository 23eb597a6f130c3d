"""What the processor has and the libraries may use."""
import os


def flags():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return file.read()


def has_bf16():
    """Instructions for bfloat16, unless ONEDNN_MAX_CPU_ISA holds the libraries to an older processor's."""
    held = os.environ.get("ONEDNN_MAX_CPU_ISA", "ALL")
    found = flags()
    return ("avx512_bf16" in found or "amx_bf16" in found) and ("BF16" in held or "AMX" in held or held in ("ALL", "DEFAULT"))
