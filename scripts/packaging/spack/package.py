# Spack recipe. Put it into a repository of your own: <repo>/packages/cfn/package.py
# scripts/packaging/README.md says what has been tried.
import os

from spack.package import *


class Cfn(MakefilePackage):
    """Concepts from Neurons: turns an opaque image classifier into an
    interpretable one, by MPI, on CPU clusters."""

    # The tarball of `make dist`, in the folder where spack is started; add sha256= of yours.
    manual_download = True
    url = f"file://{os.getcwd()}/cfn-0.1.0.tar.gz"

    license("MIT")

    version("0.1.0")

    variant("variants", default=False, description="Programs for x86-64-v2, -v3 and -v4 and a launcher that chooses")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("openmpi@4.1:")
    depends_on("hdf5@1.10:+mpi+hl")
    depends_on("blis threads=openmp")
    depends_on("onednn@2.6:3 cpu_runtime=omp")
    depends_on("libyaml")
    depends_on("libjpeg-turbo")
    depends_on("libpng")
    depends_on("libtiff@4.5:")
    depends_on("libwebp")
    depends_on("jansson")
    depends_on("liblbfgs")
    depends_on("random123")
    depends_on("xxhash")
    depends_on("utf8proc")
    depends_on("libzip")
    depends_on("zlib-api")
    depends_on("openssl")
    # Spack has no libcsv and nifti_clib, and its libsvm installs neither header nor library: these three are the
    # system's, or CSV_LIBS, NIFTI_LIBS, SVM_LIBS (and _CFLAGS) say where they are (`spack install --dirty`).

    # Libraries that say nothing to pkg-config: where they lie, and what is linked.
    unannounced = {
        "BLIS": ("blis", "-lblis"),
        "DNNL": ("onednn", "-ldnnl"),
        "HDF5": ("hdf5", "-lhdf5"),
        "LBFGS": ("liblbfgs", "-llbfgs"),
        "RANDOM123": ("random123", ""),
    }

    def edit(self, spec, prefix):
        for name, (package, libs) in self.unannounced.items():
            at = spec[package].prefix
            folders = [at.include, join_path(at.include, "blis")]
            env[name + "_CFLAGS"] = " ".join("-isystem " + d for d in folders if os.path.isdir(d))
            env[name + "_LIBS"] = " ".join("-L" + d for d in (at.lib, at.lib64) if os.path.isdir(d)) + " " + libs

    @property
    def install_arguments(self):
        # Spack's compiler wrapper chooses the processor of `target=`; a level names the variant's own.
        arguments = ["CC=cc", "BUILD=build/spack", "PREFIX=" + self.prefix]
        if self.spec.satisfies("+variants"):
            return arguments + ["VARIANTS=1"]
        return arguments + ["ARCH=" + self.level()]

    def level(self):
        """x86-64-v3 of a target that is at least that; the target's own name of the compiler elsewhere."""
        target = self.spec.target
        for level in ("x86_64_v4", "x86_64_v3", "x86_64_v2"):
            if target >= level:
                return level.replace("x86_64_", "x86-64-")
        return "x86-64" if target.family == "x86_64" else "native"

    def build(self, spec, prefix):
        make("program", *self.install_arguments)

    def install(self, spec, prefix):
        make("install", *self.install_arguments)

    @run_after("install")
    @on_package_attributes(run_tests=True)
    def selftest(self):
        Executable(self.prefix.bin.cfn)("selftest")
