"""The functions of WASI preview 1 and the types of their parameters.

Source: WebAssembly/WASI, ``phases/snapshot/witx/wasi_snapshot_preview1.witx``.
"""

from __future__ import annotations

__all__ = ["COUNTS", "WIDE"]

WIDE = {
    "clock_time_get": (1,),
    "fd_advise": (1, 2),
    "fd_allocate": (1, 2),
    "fd_fdstat_set_rights": (1, 2),
    "fd_filestat_set_size": (1,),
    "fd_filestat_set_times": (1, 2),
    "fd_pread": (3,),
    "fd_pwrite": (3,),
    "fd_readdir": (3,),
    "fd_seek": (1,),
    "path_filestat_set_times": (4, 5),
    "path_open": (5, 6),
}
"""Which parameters are i64; all others are i32."""

COUNTS = {
    "args_get": 2,
    "args_sizes_get": 2,
    "environ_get": 2,
    "environ_sizes_get": 2,
    "clock_res_get": 2,
    "clock_time_get": 3,
    "fd_advise": 4,
    "fd_allocate": 3,
    "fd_close": 1,
    "fd_datasync": 1,
    "fd_fdstat_get": 2,
    "fd_fdstat_set_flags": 2,
    "fd_fdstat_set_rights": 3,
    "fd_filestat_get": 2,
    "fd_filestat_set_size": 2,
    "fd_filestat_set_times": 4,
    "fd_pread": 5,
    "fd_prestat_get": 2,
    "fd_prestat_dir_name": 3,
    "fd_pwrite": 5,
    "fd_read": 4,
    "fd_readdir": 5,
    "fd_renumber": 2,
    "fd_seek": 4,
    "fd_sync": 1,
    "fd_tell": 2,
    "fd_write": 4,
    "path_create_directory": 3,
    "path_filestat_get": 5,
    "path_filestat_set_times": 7,
    "path_link": 7,
    "path_open": 9,
    "path_readlink": 6,
    "path_remove_directory": 3,
    "path_rename": 6,
    "path_symlink": 5,
    "path_unlink_file": 3,
    "poll_oneoff": 4,
    "proc_exit": 1,
    "proc_raise": 1,
    "random_get": 2,
    "sched_yield": 0,
    "sock_accept": 3,
    "sock_recv": 6,
    "sock_send": 5,
    "sock_shutdown": 2,
}
"""Every function of preview 1 with its number of parameters."""
