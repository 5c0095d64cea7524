"""A Linux guest under load for an hour, beside a host that changes its files and fills its disk: `make soak-guest`.

From the bottom up: `stamps` says what files hold, `share` which files there are. `worker/` is what the guest runs, and
`guest_work` how it is told to; `gone_pages.c` keeps QEMU alive, in a `guest_machine`. `host_actions` are the host's
part. `samples` are what is measured, `checks` what has to hold, `report` what came of it; `mounts` is the story.
"""
