"""Where the programs of the control plane come from, before anything is started.

    KUBEBUILDER_ASSETS, PATH  ->  own cache  ->  official release with checksum  ->  go build from pinned modules

    artefacts   what is needed: versions, release files, Go packages
    installed   programs somebody put on this machine
    cache       our folder, one lock for each artefact
    release     the download
    build       the Go build
    resolve     the order of the ways, and the one error when none works

Nothing here starts a component, and nothing is written outside the cache.
"""

from rehearsal.binaries.resolve import Binaries, BinariesError, ensure

__all__ = ["Binaries", "BinariesError", "ensure"]
